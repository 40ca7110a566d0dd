import type { OnnxAttribute, OnnxGraph, OnnxNode, OnnxTensor, OnnxValue } from "../../formats/onnxModel.ts";

/** Collects nodes and constants of one graph; every method returns the name of the value it makes. */
export class GraphBuilder {
  private readonly nodes: OnnxNode[] = [];
  private readonly initializers: OnnxTensor[] = [];
  private readonly inputs: OnnxValue[] = [];
  private readonly outputs: OnnxValue[] = [];
  private readonly integerConstants = new Map<string, string>();
  private readonly graphName: string;
  private made = 0;

  constructor(graphName: string) {
    this.graphName = graphName;
  }

  /** A float input; strings name sizes known only at run time. */
  input(name: string, dims: readonly (number | string)[]): string {
    this.inputs.push({ name, element: "f32", dims });
    return name;
  }

  /** Makes `value` a float output called `name`. */
  output(name: string, value: string, dims: readonly (number | string)[]): void {
    this.nodes.push({ op: "Identity", domain: "", inputs: [value], outputs: [name], attributes: {} });
    this.outputs.push({ name, element: "f32", dims });
  }

  /** One node with one output. An empty string is an input left out. */
  op(op: string, inputs: readonly string[], attributes: Record<string, OnnxAttribute> = {}, domain = ""): string {
    const output = this.freshName();
    this.nodes.push({ op, domain, inputs, outputs: [output], attributes });
    return output;
  }

  constant(dims: readonly number[], data: OnnxTensor["data"]): string {
    const name = this.freshName();
    this.initializers.push({ name, dims, data });
    return name;
  }

  scalar(value: number): string {
    return this.constant([], Float32Array.of(value));
  }

  /** A vector of int64: shapes, axes, slice bounds. Equal vectors are stored once. */
  integers(...values: number[]): string {
    const key = values.join(",");
    const known = this.integerConstants.get(key);
    if (known !== undefined) return known;
    const name = this.constant(
      [values.length],
      BigInt64Array.from(values, (value) => BigInt(value)),
    );
    this.integerConstants.set(key, name);
    return name;
  }

  reshape(value: string, ...dims: number[]): string {
    return this.op("Reshape", [value, this.integers(...dims)]);
  }

  transpose(value: string, ...perm: number[]): string {
    return this.op("Transpose", [value], { perm: { ints: perm } });
  }

  /** `value[..., start:end, ...]` along one axis. */
  slice(value: string, axis: number, start: number, end: number): string {
    return this.op("Slice", [value, this.integers(start), this.integers(end), this.integers(axis)]);
  }

  concat(axis: number, ...values: string[]): string {
    return this.op("Concat", values, { axis: { int: axis } });
  }

  graph(): OnnxGraph {
    return {
      name: this.graphName,
      nodes: this.nodes,
      initializers: this.initializers,
      inputs: this.inputs,
      outputs: this.outputs,
    };
  }

  private freshName(): string {
    this.made++;
    return `v${this.made}`;
  }
}
