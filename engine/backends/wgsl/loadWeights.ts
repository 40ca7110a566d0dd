/** Weights onto the device: rows are read in bounded pieces, laid out for matmul.wgsl, quantised where asked, and split to what can be bound. */
import type { WeightFormat } from "../../api.ts";
import { EngineError } from "../../errors.ts";
import { quantizeQ8, Q8_BLOCK } from "../../formats/q8.ts";
import { allocated, UPLOAD_BYTES, uploadedBuffer } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import type { Matrix, MatrixSlice } from "../../kernels/linear.ts";
import { storedFormat } from "../../models/weights.ts";

export interface LoadOptions {
  weightFormat: WeightFormat;
  /** Largest buffer of weights. */
  maxBindingBytes: number;
  signal?: AbortSignal | undefined;
  onProgress?(doneBytes: number, totalBytes: number): void;
}

/** Where matrices come from and go to. */
export interface Loader {
  gpu: EngineDevice;
  options: LoadOptions;
  read(name: string, start?: number, end?: number): Promise<Float32Array<ArrayBuffer>>;
  shape(name: string): readonly number[];
}

/** A whole tensor in f32, `offset` added to every number. */
export async function vector(loader: Loader, name: string, offset = 0): Promise<GPUBuffer> {
  const values = await loader.read(name);
  return upload(loader, name, offset === 0 ? values : values.map((value) => value + offset));
}

/** Several tensors [rows, columns] behind each other as one matrix. */
export async function loadMatrix(
  loader: Loader,
  names: readonly string[],
  biases: readonly (string | undefined)[],
): Promise<Matrix> {
  const parts = names.map((name) => ({ name, rows: loader.shape(name)[0] ?? 0 }));
  const shape = loader.shape(names[0] ?? "");
  const columns = shape.at(-1) ?? 0;
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const format = storedFormat(names[0] ?? "", shape, loader.options.weightFormat);
  // A slice is read, laid out and uploaded in one go, so the upload's bound holds for it too; it is at least eight rows.
  const sliceBytes = Math.min(UPLOAD_BYTES, loader.options.maxBindingBytes);
  const sliceRows = Math.max(8, Math.floor(sliceBytes / (columns * 4) / 8) * 8);
  const slices: MatrixSlice[] = [];
  for (let rowStart = 0; rowStart < rows; rowStart += sliceRows) {
    const count = Math.min(sliceRows, rows - rowStart);
    slices.push(
      await slice(loader, await readAcross(loader, parts, rowStart, count, columns), { rowStart, rows: count, columns, format }),
    );
  }
  const bias = biases.some((name) => name !== undefined) ? await joinedBias(loader, parts, biases) : undefined;
  return { rows, columns, slices, bias };
}

/** Rows [rowStart, rowStart + count) of the tensors as if they lay behind each other. */
async function readAcross(
  loader: Loader,
  parts: readonly { name: string; rows: number }[],
  rowStart: number,
  count: number,
  columns: number,
) {
  const joined = new Float32Array(count * columns);
  let first = 0;
  for (const { name, rows } of parts) {
    const start = Math.max(rowStart - first, 0);
    const end = Math.min(rowStart + count - first, rows);
    if (start < end) joined.set(await loader.read(name, start, end), (first + start - rowStart) * columns);
    first += rows;
  }
  return joined;
}

async function joinedBias(
  loader: Loader,
  parts: readonly { rows: number }[],
  names: readonly (string | undefined)[],
): Promise<GPUBuffer> {
  const joined = new Float32Array(parts.reduce((sum, part) => sum + part.rows, 0));
  let first = 0;
  for (const [index, part] of parts.entries()) {
    const name = names[index];
    if (name !== undefined) joined.set(await loader.read(name), first);
    first += part.rows;
  }
  return upload(loader, "bias", joined);
}

interface SliceShape {
  rowStart: number;
  rows: number;
  columns: number;
  format: WeightFormat;
}

/** Row-major [rows, columns] -> [columns / 4, paddedRows] groups of four along the columns, in f32 or int8. */
async function slice(
  loader: Loader,
  values: Float32Array<ArrayBuffer>,
  { rowStart, rows, columns, format }: SliceShape,
): Promise<MatrixSlice> {
  const paddedRows = Math.ceil(rows / 8) * 8;
  const label = `weights from row ${rowStart}`;
  if (format === "f32") {
    const grouped = new Float32Array(columns * paddedRows);
    regroup(values, grouped, rows, columns, paddedRows);
    return { rowStart, rows, paddedRows, weight: await upload(loader, label, grouped), scales: undefined };
  }
  const quantized = quantizeQ8(values, columns);
  const bytes = new Int8Array(columns * paddedRows);
  regroup(quantized.values, bytes, rows, columns, paddedRows);
  const blocks = columns / Q8_BLOCK;
  const scales = new Float32Array(blocks * paddedRows);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) scales[block * paddedRows + row] = quantized.scales[row * blocks + block];
  }
  const words = new Uint32Array(bytes.buffer);
  return {
    rowStart,
    rows,
    paddedRows,
    weight: await upload(loader, label, words),
    scales: await upload(loader, "scales", scales),
  };
}

function regroup<A extends Float32Array | Int8Array>(
  source: A,
  target: A,
  rows: number,
  columns: number,
  paddedRows: number,
): void {
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column += 4) {
      const from = row * columns + column;
      const to = ((column / 4) * paddedRows + row) * 4;
      target[to] = source[from];
      target[to + 1] = source[from + 1];
      target[to + 2] = source[from + 2];
      target[to + 3] = source[from + 3];
    }
  }
}

async function upload(
  loader: Loader,
  label: string,
  data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
): Promise<GPUBuffer> {
  return allocated(
    loader.gpu,
    () => uploadedBuffer(loader.gpu, label, data),
    () =>
      new EngineError(
        "limit-exceeded",
        "the device has no memory left for the weights",
        "choose q8_0 weights, a smaller model or the WASM backend",
      ),
  );
}
