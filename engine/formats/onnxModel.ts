/**
 * Writer of ONNX files, as far as this project builds graphs: one graph, dense initializers, no subgraphs.
 * Field numbers are those of the public schema onnx/onnx.proto (IR version 10).
 */

export type OnnxElement = "f32" | "u8" | "i64";

/** A constant of the graph; `data` is row-major in `dims`. Strings are names of other values. */
export interface OnnxTensor {
  name: string;
  dims: readonly number[];
  data: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>;
}

/** A graph input or output; a string in `dims` names a size that is known only when the graph runs. */
export interface OnnxValue {
  name: string;
  element: OnnxElement;
  dims: readonly (number | string)[];
}

/** Numbers become FLOAT or INT attributes by their wrapper, arrays INTS. */
export type OnnxAttribute = { int: number } | { float: number } | { ints: readonly number[] } | { tensor: OnnxTensor };

export interface OnnxNode {
  op: string;
  /** Empty for the standard operators. */
  domain: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes: Readonly<Record<string, OnnxAttribute>>;
}

export interface OnnxGraph {
  name: string;
  nodes: readonly OnnxNode[];
  initializers: readonly OnnxTensor[];
  inputs: readonly OnnxValue[];
  outputs: readonly OnnxValue[];
}

/** Standard operator set the graphs are written in (ReduceSum and friends take their axes as inputs). */
export const ONNX_OPSET = 18;
/** Domain of ONNX Runtime's own operators. */
export const MICROSOFT_DOMAIN = "com.microsoft";

/** Bytes of a ModelProto. Tensor data is copied once, into the result. */
export function encodeOnnxModel(graph: OnnxGraph): Uint8Array<ArrayBuffer> {
  const model = new Message();
  model.varint(1, 10);
  model.text(2, "long-context-playground");
  model.message(7, encodeGraph(graph));
  model.message(8, encodeOperatorSet("", ONNX_OPSET));
  if (graph.nodes.some((node) => node.domain === MICROSOFT_DOMAIN)) model.message(8, encodeOperatorSet(MICROSOFT_DOMAIN, 1));
  return model.bytes();
}

const elementCodes: Readonly<Record<OnnxElement, number>> = { f32: 1, u8: 2, i64: 7 };

function encodeOperatorSet(domain: string, version: number): Message {
  const set = new Message();
  set.text(1, domain);
  set.varint(2, version);
  return set;
}

function encodeGraph(graph: OnnxGraph): Message {
  const message = new Message();
  for (const node of graph.nodes) message.message(1, encodeNode(node));
  message.text(2, graph.name);
  for (const tensor of graph.initializers) message.message(5, encodeTensor(tensor));
  for (const value of graph.inputs) message.message(11, encodeValue(value));
  for (const value of graph.outputs) message.message(12, encodeValue(value));
  return message;
}

function encodeNode(node: OnnxNode): Message {
  const message = new Message();
  for (const input of node.inputs) message.text(1, input);
  for (const output of node.outputs) message.text(2, output);
  message.text(4, node.op);
  for (const [name, attribute] of Object.entries(node.attributes)) message.message(5, encodeAttribute(name, attribute));
  message.text(7, node.domain);
  return message;
}

function encodeAttribute(name: string, attribute: OnnxAttribute): Message {
  const message = new Message();
  message.text(1, name);
  if ("float" in attribute) {
    message.float(2, attribute.float);
    message.varint(20, 1);
  } else if ("int" in attribute) {
    message.varint(3, attribute.int);
    message.varint(20, 2);
  } else if ("tensor" in attribute) {
    message.message(5, encodeTensor(attribute.tensor));
    message.varint(20, 4);
  } else {
    for (const value of attribute.ints) message.varint(8, value);
    message.varint(20, 7);
  }
  return message;
}

function encodeTensor(tensor: OnnxTensor): Message {
  const message = new Message();
  for (const size of tensor.dims) message.varint(1, size);
  message.varint(2, elementCodes[elementOf(tensor.data)]);
  message.text(8, tensor.name);
  message.raw(9, new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength));
  return message;
}

function elementOf(data: OnnxTensor["data"]): OnnxElement {
  if (data instanceof Float32Array) return "f32";
  return data instanceof Uint8Array ? "u8" : "i64";
}

function encodeValue(value: OnnxValue): Message {
  const shape = new Message();
  for (const size of value.dims) {
    const dimension = new Message();
    if (typeof size === "number") dimension.varint(1, size);
    else dimension.text(2, size);
    shape.message(1, dimension);
  }
  const tensorType = new Message();
  tensorType.varint(1, elementCodes[value.element]);
  tensorType.message(2, shape);
  const type = new Message();
  type.message(1, tensorType);
  const message = new Message();
  message.text(1, value.name);
  message.message(2, type);
  return message;
}

/** A protobuf message under construction: pieces in order, joined only at the end, so that big tensors are not copied per level. */
class Message {
  readonly pieces: Uint8Array[] = [];
  length = 0;

  varint(field: number, value: number): void {
    this.push(varintBytes(field * 8));
    this.push(varintBytes(value));
  }

  float(field: number, value: number): void {
    this.push(varintBytes(field * 8 + 5));
    this.push(new Uint8Array(new Float32Array([value]).buffer));
  }

  text(field: number, value: string): void {
    this.raw(field, new TextEncoder().encode(value));
  }

  raw(field: number, value: Uint8Array): void {
    this.push(varintBytes(field * 8 + 2));
    this.push(varintBytes(value.length));
    this.push(value);
  }

  message(field: number, value: Message): void {
    this.push(varintBytes(field * 8 + 2));
    this.push(varintBytes(value.length));
    for (const piece of value.pieces) this.push(piece);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const joined = new Uint8Array(this.length);
    let offset = 0;
    for (const piece of this.pieces) {
      joined.set(piece, offset);
      offset += piece.length;
    }
    return joined;
  }

  private push(piece: Uint8Array): void {
    this.pieces.push(piece);
    this.length += piece.length;
  }
}

/** Seven bits a byte, lowest first; negative integers take ten bytes as int64 does. */
function varintBytes(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 128 : low);
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}
