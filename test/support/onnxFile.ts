/** ONNX files by hand, also wrong ones: protocol buffers with any fields. */

/** The bytes of one field. */
export type ProtoBytes = readonly number[];

export function varint(value: bigint | number): ProtoBytes {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return bytes;
}

export function numberField(number: number, value: bigint | number): ProtoBytes {
  return [...varint(number * 8), ...varint(value)];
}

export function bytesField(number: number, bytes: ArrayLike<number>): ProtoBytes {
  return [...varint(number * 8 + 2), ...varint(bytes.length), ...Array.from(bytes)];
}

export function textField(number: number, text: string): ProtoBytes {
  return bytesField(number, new TextEncoder().encode(text));
}

export interface OnnxInitializer {
  name: string;
  dims: readonly (number | bigint)[];
  /** onnx.TensorProto.DataType. */
  type: number;
  raw?: Uint8Array;
  /** Keys and values of its external data. */
  external?: Readonly<Record<string, string>>;
}

export interface OnnxNodeEntry {
  name: string;
  op: string;
  inputs: readonly string[];
  numbers: Readonly<Record<string, number | bigint>>;
}

export function initializerField({ name, dims, type, raw, external }: OnnxInitializer): ProtoBytes {
  const fields = [
    ...dims.flatMap((size) => numberField(1, size)),
    ...numberField(2, type),
    ...textField(8, name),
    ...(raw ? bytesField(9, raw) : []),
    ...Object.entries(external ?? {}).flatMap(([key, value]) => bytesField(13, [...textField(1, key), ...textField(2, value)])),
    ...(external ? numberField(14, 1) : []),
  ];
  return bytesField(5, fields);
}

export function nodeField({ name, op, inputs, numbers }: OnnxNodeEntry): ProtoBytes {
  const attributes = Object.entries(numbers).flatMap(([key, value]) =>
    bytesField(5, [...textField(1, key), ...numberField(3, value), ...numberField(20, 2)]),
  );
  return bytesField(1, [
    ...inputs.flatMap((input) => textField(1, input)),
    ...textField(2, "y"),
    ...textField(3, name),
    ...textField(4, op),
    ...attributes,
  ]);
}

/** A model with one graph of these fields. */
export function onnxFile(...graph: readonly ProtoBytes[]): Uint8Array {
  return Uint8Array.from([...numberField(1, 10), ...bytesField(7, graph.flat())]);
}
