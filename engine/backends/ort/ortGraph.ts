import type { OnnxGraph } from "../../formats/onnxModel.ts";

/** A float tensor on its way into or out of a graph, row-major in `dims`. */
export interface Floats {
  data: Float32Array<ArrayBuffer>;
  dims: readonly number[];
}

/** A graph that is ready to run. */
export interface OrtGraph {
  /** Every declared output by name. */
  run(inputs: Readonly<Record<string, Floats>>): Promise<Record<string, Float32Array<ArrayBuffer>>>;
  /** Gives its memory back; the graph must not be run again. */
  release(): Promise<void>;
}

/** Makes a graph ready; throws `limit-exceeded` when WebAssembly has no room for its weights. */
export type GraphLoader = (graph: OnnxGraph) => Promise<OrtGraph>;

/** An output that the graph declares. */
export function outputOf(outputs: Record<string, Float32Array<ArrayBuffer>>, name: string): Float32Array<ArrayBuffer> {
  const output = outputs[name];
  if (output === undefined) throw new Error(`the graph has no output ${name}`);
  return output;
}
