/** What the user's choice of weight format does to each tensor: kept as in the file, widened, or quantised on load with a known error. */
import type { TensorFormat, WeightFormat, WeightStore } from "../api.ts";
import { dequantizeQ4, q4Bytes, quantizeQ4 } from "./q4.ts";
import { canQuantizeQ8, dequantizeQ8, q8Bytes, quantizeQ8 } from "./q8.ts";

const floats: ReadonlySet<TensorFormat> = new Set(["f64", "f32", "f16", "bf16", "f8_e4m3", "f8_e5m2"]);

/**
 * How a tensor that lies as `file` in its file is stored under `format`. Only what a token is multiplied by or looked up in follows the
 * choice: projections, the head and the embedding table. Everything else is f32, also the low-rank maps of RWKV-7 and of Mamba's time
 * step, which are small and steer exponentials. Numbers that are quantised in the file stay so unless f32 is asked for; what does not divide into blocks stays as
 * it is.
 */
export function storedFormat(name: string, shape: readonly number[], file: TensorFormat, format: WeightFormat): TensorFormat {
  const isTable = shape.length === 2 && name.endsWith(".weight") && !/lora|dt_proj|norm/.test(name);
  if (!isTable || format === "f32") return "f32";
  if (format === "file" || !floats.has(file)) return file;
  return canQuantizeQ8(shape[1] ?? 0) ? format : file;
}

/** How far quantised weights are from those in the file. */
export interface QuantizationError {
  /** Adds rows and what became of them. */
  add(exact: Float32Array, rounded: Float32Array): void;
  /** sqrt(sum (w - w')² / sum w²) over all that was added; undefined where nothing was. */
  relativeRms(): number | undefined;
}

export function openQuantizationError(): QuantizationError {
  let errors = 0;
  let squares = 0;
  let count = 0;
  return {
    add(exact, rounded) {
      for (let i = 0; i < exact.length; i++) {
        const off = exact[i] - rounded[i];
        errors += off * off;
        squares += exact[i] * exact[i];
      }
      count += exact.length;
    },
    relativeRms: () => (count === 0 ? undefined : squares === 0 ? 0 : Math.sqrt(errors / squares)),
  };
}

/** Formats that f32 rows are rounded to on load. */
type QuantizedFormat = Exclude<WeightFormat, "file" | "f32">;

/** Rows of a matrix rounded to `format`: their bytes as a file would hold them, and their values. */
export function quantizeRows(
  rows: Float32Array,
  columns: number,
  format: QuantizedFormat,
): { bytes: Uint8Array<ArrayBuffer>; values: Float32Array<ArrayBuffer> } {
  if (format === "q8_0") {
    const matrix = quantizeQ8(rows, columns);
    return { bytes: q8Bytes(matrix), values: dequantizeQ8(matrix) };
  }
  const matrix = quantizeQ4(rows, columns);
  return { bytes: q4Bytes(matrix), values: dequantizeQ4(matrix) };
}

/** What `storedFormat` says of a tensor's numbers that it rounds on load; undefined where it keeps or widens them. */
export function roundedOnLoad(file: TensorFormat, stored: TensorFormat): QuantizedFormat | undefined {
  return file !== stored && (stored === "q8_0" || stored === "q4_0") ? stored : undefined;
}

/** Rows [start, end) of a tensor as bytes of the format they are stored in; what is rounded is added to `error`. */
export async function readStored(
  store: WeightStore,
  name: string,
  stored: TensorFormat,
  [start, end]: readonly [start: number, end: number],
  error: QuantizationError,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const file = store.format(name);
  if (file === stored) return store.readBytes(name, start, end, signal);
  const values = await store.readRows(name, start, end, signal);
  const rounded = roundedOnLoad(file, stored);
  if (rounded === undefined) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const { bytes, values: kept } = quantizeRows(values, values.length / (end - start), rounded);
  error.add(values, kept);
  return bytes;
}
