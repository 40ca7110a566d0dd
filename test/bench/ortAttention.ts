/**
 * onnxruntime-web's attention on a device of ours: GroupQueryAttention, which is causal, for prompts, and MultiHeadAttention for the last token
 * over all keys. Inputs and outputs are f32, the same buffers that ours reads; with `f16` the graph works in binary16 between two casts.
 */
import {
  encodeOnnxModel,
  MICROSOFT_DOMAIN,
  type OnnxGraph,
  type OnnxNode,
  type OnnxTensor,
} from "../../engine/formats/onnxModel.ts";
import { ortRuntime } from "./ortWebgpu.ts";

export interface AttentionShape {
  headCount: number;
  kvHeadCount: number;
  headDim: number;
  /** Keys; a prompt has as many queries, a decoded token one. */
  keys: number;
  isPrompt: boolean;
  f16?: boolean;
}

export interface OrtAttention {
  /** Runs once; `output` [queries, headCount, headDim] is then on its way. */
  run(): Promise<void>;
  output: GPUBuffer;
  release(): Promise<void>;
}

/** Queries [queries, H, D], keys and values [keys, G, D] as buffers of `device`. Throws where the provider does not run the shape. */
export async function openOrtAttention(
  entry: GPU,
  device: GPUDevice,
  shape: AttentionShape,
  inputs: { queries: GPUBuffer; keys: GPUBuffer; values: GPUBuffer },
): Promise<OrtAttention> {
  const ort = await ortRuntime(entry);
  const { headCount, kvHeadCount, headDim, keys, isPrompt } = shape;
  if (!isPrompt && headCount !== kvHeadCount) throw new RangeError("MultiHeadAttention has as many key heads as query heads");
  const session = await ort.InferenceSession.create(encodeOnnxModel(graphOf(shape)), {
    executionProviders: [{ name: "webgpu" as const, device }],
    preferredOutputLocation: "gpu-buffer",
    logSeverityLevel: 3,
  });
  const rows = isPrompt ? keys : 1;
  const output = device.createBuffer({ size: rows * headCount * headDim * 4, usage: 128 | 4 | 8 });
  const tensor = (buffer: GPUBuffer, count: number, heads: number) =>
    ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: [1, count, heads * headDim] });
  const feeds = {
    query: tensor(inputs.queries, rows, headCount),
    key: tensor(inputs.keys, keys, kvHeadCount),
    value: tensor(inputs.values, keys, kvHeadCount),
  };
  const fetches = { output: tensor(output, rows, headCount) };
  return {
    output,
    async run() {
      await session.run(feeds, fetches);
    },
    async release() {
      await session.release();
      output.destroy();
    },
  };
}

/** onnx.TensorProto.DataType. */
const FLOAT = 1;
const INT32 = 6;
const FLOAT16 = 10;

function graphOf({ headCount, kvHeadCount, headDim, keys, isPrompt, f16 = false }: AttentionShape): OnnxGraph {
  const queries = isPrompt ? keys : 1;
  const scale = { float: 1 / Math.sqrt(headDim) };
  const nodes: OnnxNode[] = [];
  const initializers: OnnxTensor[] = [];
  const cast = (from: string, to: string, element: number): void => {
    nodes.push({ op: "Cast", domain: "", inputs: [from], outputs: [to], attributes: { to: { int: element } } });
  };
  const inputs = ["query", "key", "value"].map((name) => {
    if (f16) cast(name, `${name}16`, FLOAT16);
    return f16 ? `${name}16` : name;
  });
  const output = f16 ? "output16" : "output";
  if (isPrompt) {
    // It wants 32-bit integers, which the writer of graphs does not have.
    for (const [name, dims, value] of [
      ["lastKey", [1], keys - 1],
      ["total", [], keys],
    ] as const) {
      initializers.push({ name: `${name}64`, dims, data: BigInt64Array.of(BigInt(value)) });
      cast(`${name}64`, name, INT32);
    }
    nodes.push({
      op: "GroupQueryAttention",
      domain: MICROSOFT_DOMAIN,
      inputs: [...inputs, "", "", "lastKey", "total"],
      outputs: [output, "presentKey", "presentValue"],
      attributes: { num_heads: { int: headCount }, kv_num_heads: { int: kvHeadCount }, scale },
    });
  } else {
    const attributes = { num_heads: { int: headCount }, scale };
    nodes.push({ op: "MultiHeadAttention", domain: MICROSOFT_DOMAIN, inputs, outputs: [output], attributes });
  }
  if (f16) cast(output, "output", FLOAT);
  const wide = (heads: number): number => heads * headDim;
  return {
    name: "attention",
    nodes,
    initializers,
    inputs: [
      { name: "query", element: "f32", dims: [1, queries, wide(headCount)] },
      { name: "key", element: "f32", dims: [1, keys, wide(kvHeadCount)] },
      { name: "value", element: "f32", dims: [1, keys, wide(kvHeadCount)] },
    ],
    outputs: [{ name: "output", element: "f32", dims: [1, queries, wide(headCount)] }],
  };
}
