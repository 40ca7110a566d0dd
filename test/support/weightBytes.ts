/** Tensors in any format of a file, made of random bytes, as a store. */
import type { TensorFormat, WeightStore } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { decoderOf } from "../../engine/formats/decode.ts";
import { encodeF16 } from "../../engine/formats/floats.ts";
import { bytesOf, LAYOUTS } from "../../engine/formats/layouts.ts";
import { fnv1a32, mulberry32 } from "./goldenModels.ts";

export interface ByteTensor {
  format: TensorFormat;
  shape: readonly number[];
  bytes: Uint8Array<ArrayBuffer>;
}

/** Places of the binary16 and f32 numbers in a block, which must not be any bytes, and about how large they are. */
const scalePlaces: Partial<Record<TensorFormat, readonly [at: number, kind: "f16" | "f32" | "e8m0", size: number][]>> = {
  q8_0: [[0, "f16", 0.01]],
  q4_0: [[0, "f16", 0.1]],
  q4_1: [
    [0, "f16", 0.1],
    [2, "f16", 1],
  ],
  q5_0: [[0, "f16", 0.1]],
  q5_1: [
    [0, "f16", 0.1],
    [2, "f16", 1],
  ],
  q2_k: [
    [80, "f16", 0.05],
    [82, "f16", 0.05],
  ],
  q3_k: [[108, "f16", 0.02]],
  q4_k: [
    [0, "f16", 0.002],
    [2, "f16", 0.01],
  ],
  q5_k: [
    [0, "f16", 0.001],
    [2, "f16", 0.01],
  ],
  q6_k: [[208, "f16", 0.0005]],
  iq4_nl: [[0, "f16", 0.01]],
  iq4_xs: [[0, "f16", 0.0005]],
  mxfp4: [[0, "e8m0", 125]],
  affine4: [
    [0, "f32", 0.1],
    [4, "f32", 1],
  ],
  affine8: [
    [0, "f32", 0.01],
    [4, "f32", 1],
  ],
};

/** Numbers around one: every code and every scale is random. */
export function randomTensor(name: string, format: TensorFormat, shape: readonly number[]): ByteTensor {
  const uniform = mulberry32(fnv1a32(name + format));
  const count = shape.reduce((product, size) => product * size, 1);
  const bytes = new Uint8Array(bytesOf(format, count));
  const view = new DataView(bytes.buffer);
  const signed = (): number => 2 * uniform() - 1;
  if (format === "f32") for (let i = 0; i < count; i++) view.setFloat32(4 * i, signed(), true);
  else if (format === "f64") for (let i = 0; i < count; i++) view.setFloat64(8 * i, signed(), true);
  else if (format === "f16") for (let i = 0; i < count; i++) view.setUint16(2 * i, encodeF16(signed()), true);
  else if (format === "bf16") for (let i = 0; i < count; i++) view.setInt16(2 * i, floatBits(signed()) >> 16, true);
  // Of eight bits, those without the largest exponents, among which are the numbers that are none.
  else if (format.startsWith("f8")) bytes.forEach((_, i) => (bytes[i] = Math.floor(uniform() * 256) & 0xbf));
  else bytes.forEach((_, i) => (bytes[i] = Math.floor(uniform() * 256)));
  const block = LAYOUTS[format].bytes;
  for (let start = 0; start < bytes.length; start += block) {
    for (const [at, kind, size] of scalePlaces[format] ?? []) {
      const value = size * (0.5 + uniform());
      if (kind === "f16") view.setUint16(start + at, encodeF16(value), true);
      else if (kind === "f32") view.setFloat32(start + at, value, true);
      else bytes[start + at] = size + Math.floor(4 * uniform());
    }
  }
  return { format, shape, bytes };
}

/** All numbers of a tensor. */
export function valuesOf({ format, shape, bytes }: ByteTensor): Float32Array<ArrayBuffer> {
  const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
  decoderOf(format)(bytes, values);
  return values;
}

/** The tensors as a store that also counts the bytes of its largest read. */
export function bytesStore(tensors: Readonly<Record<string, ByteTensor>>): WeightStore & { largestRead(): number } {
  let largest = 0;
  const tensor = (name: string): ByteTensor => {
    const found = tensors[name];
    if (found === undefined)
      throw new EngineError("weights-missing", `no tensor ${name}`, "add it to the test's store", { name });
    return found;
  };
  const rowsOf = (name: string, start = 0, end = tensor(name).shape[0] ?? 1): ByteTensor => {
    const { format, shape, bytes } = tensor(name);
    const rowBytes = bytes.length / (shape[0] ?? 1);
    const part = bytes.slice(start * rowBytes, end * rowBytes);
    largest = Math.max(largest, part.length);
    return { format, shape: [end - start, ...shape.slice(1)], bytes: part };
  };
  return {
    has: (name) => name in tensors,
    shape: (name) => tensor(name).shape,
    format: (name) => tensor(name).format,
    readRows: async (name, start, end) => valuesOf(rowsOf(name, start, end)),
    readBytes: async (name, start, end) => rowsOf(name, start, end).bytes,
    largestRead: () => largest,
  };
}

function floatBits(value: number): number {
  return new Int32Array(Float32Array.of(value).buffer)[0] ?? 0;
}
