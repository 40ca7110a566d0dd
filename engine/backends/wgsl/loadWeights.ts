/** Tensors onto the device: read in bounded pieces, packed for the kernels, quantised where asked, and split to what can be bound. */
import type { TensorFormat, WeightFormat, WeightStore } from "../../api.ts";
import { EngineError, throwIfAborted } from "../../errors.ts";
import { bytesOf } from "../../formats/layouts.ts";
import { openQuantizationError, readStored, storedFormat } from "../../formats/stored.ts";
import { allocated, storageBuffer, uploadedBuffer } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import type { Matrix, MatrixSlice } from "../../kernels/linear.ts";
import { matrixBytes, matrixFormatOf, PANEL_ROWS, type MatrixFormat } from "../../kernels/matrixFormats.ts";
import { openRowStaging } from "../../kernels/packRows.ts";

export interface LoadOptions {
  weightFormat: WeightFormat;
  /** Largest buffer of weights. */
  maxBindingBytes: number;
  signal?: AbortSignal | undefined;
  /** Bytes of the files read so far, of all. */
  onProgress?(doneBytes: number, totalBytes: number): void;
}

export interface WeightLoader {
  /** Several tensors [rows, columns] behind each other as one matrix, and their biases. Throws `aborted`, `limit-exceeded`, or what the store throws. */
  matrix(names: readonly string[], biases?: readonly (string | undefined)[]): Promise<Matrix>;
  /** A whole tensor in f32, `offset` added to every number. */
  vector(name: string, offset?: number): Promise<GPUBuffer>;
  /** Whole tensors of one length in f32, behind each other. */
  stacked(names: readonly string[]): Promise<GPUBuffer>;
  /** Of all matrices that were quantised here: sqrt(sum (w - w')² / sum w²); undefined where none was. */
  quantizationError(): number | undefined;
  /** Bytes of matrices and vectors on the device so far. */
  deviceBytes(): number;
}

/** Bytes handled at once, in the file or on the device, so that a matrix is never held whole. */
const PIECE_BYTES = 16 * 2 ** 20;

/** One tensor of a matrix: its rows are rows [first, first + rows) of the matrix. */
interface Part {
  name: string;
  file: TensorFormat;
  stored: TensorFormat;
  first: number;
  rows: number;
}

/** `names` are all tensors that will be loaded: what progress is measured by. */
export function openWeightLoader(
  gpu: EngineDevice,
  store: WeightStore,
  names: Iterable<string>,
  options: LoadOptions,
): WeightLoader {
  const { weightFormat, maxBindingBytes, signal } = options;
  const staging = openRowStaging();
  const error = openQuantizationError();
  let totalBytes = 0;
  for (const name of names) totalBytes += bytesOf(store.format(name), product(store.shape(name)));
  let doneBytes = 0;
  let deviceBytes = 0;

  const counted = (format: TensorFormat, numbers: number): void => {
    doneBytes += bytesOf(format, numbers);
    options.onProgress?.(doneBytes, totalBytes);
  };
  const buffer = (label: string, bytes: number): Promise<GPUBuffer> => {
    deviceBytes += bytes;
    return allocated(gpu, () => storageBuffer(gpu, label, bytes), outOfMemory);
  };
  const upload = (label: string, data: Float32Array<ArrayBuffer>): Promise<GPUBuffer> => {
    deviceBytes += data.byteLength;
    return allocated(gpu, () => uploadedBuffer(gpu, label, data), outOfMemory);
  };
  const readVector = async (name: string): Promise<Float32Array<ArrayBuffer>> => {
    throwIfAborted(signal);
    const values = await store.readRows(name, undefined, undefined, signal);
    counted(store.format(name), values.length);
    return values;
  };

  /** Fills a slice piece by piece with rows of the parts. */
  const fill = async (slice: MatrixSlice, parts: readonly Part[], columns: number, pieceRows: number): Promise<void> => {
    for (let done = 0; done < slice.rows; done += pieceRows) {
      const count = Math.min(pieceRows, slice.rows - done);
      const panels = staging.open(slice.format, count, columns);
      const from = slice.rowStart + done;
      for (const part of parts) {
        const start = Math.max(from, part.first);
        const end = Math.min(from + count, part.first + part.rows);
        if (start >= end) continue;
        throwIfAborted(signal);
        const rows = [start - part.first, end - part.first] as const;
        panels.put(part.stored, await readStored(store, part.name, part.stored, rows, error, signal), start - from);
        counted(part.file, (end - start) * columns);
      }
      const before = matrixBytes(slice.format, done, columns);
      gpu.device.queue.writeBuffer(slice.codes, before.codes, panels.codes);
      if (slice.scales !== undefined) gpu.device.queue.writeBuffer(slice.scales, before.scales, panels.scales);
      // What the queue holds of the pieces is bounded too.
      await gpu.settle(gpu.device.queue.onSubmittedWorkDone());
    }
  };

  /** Slices of parts that lie behind each other and have one format on the device. */
  const slicesOf = async (parts: readonly Part[], columns: number): Promise<MatrixSlice[]> => {
    const [head] = parts;
    const last = parts.at(-1);
    if (head === undefined || last === undefined) return [];
    const format = matrixFormatOf[head.stored];
    const panel = matrixBytes(format, PANEL_ROWS, columns);
    const inFile = Math.max(...parts.map(({ file }) => bytesOf(file, columns))) * PANEL_ROWS;
    const sliceRows = PANEL_ROWS * Math.max(1, Math.floor(maxBindingBytes / Math.max(panel.codes, panel.scales)));
    const pieceRows = PANEL_ROWS * Math.max(1, Math.floor(PIECE_BYTES / Math.max(panel.codes, panel.scales, inFile)));
    const slices: MatrixSlice[] = [];
    for (let rowStart = head.first; rowStart < last.first + last.rows; rowStart += sliceRows) {
      const rows = Math.min(sliceRows, last.first + last.rows - rowStart);
      const size = matrixBytes(format, rows, columns);
      const codes = await buffer(`${head.name} from row ${rowStart}`, size.codes);
      const scales = size.scales === 0 ? undefined : await buffer(`scales of ${head.name}`, size.scales);
      const slice = { format, rowStart, rows, codes, scales };
      await fill(slice, parts, columns, pieceRows);
      slices.push(slice);
    }
    return slices;
  };

  return {
    async matrix(names, biases = []) {
      const columns = store.shape(names[0] ?? "").at(-1) ?? 0;
      const parts: Part[] = [];
      let rows = 0;
      for (const name of names) {
        const shape = store.shape(name);
        const file = store.format(name);
        parts.push({ name, file, stored: storedFormat(name, shape, file, weightFormat), first: rows, rows: shape[0] ?? 0 });
        rows += shape[0] ?? 0;
      }
      const slices: MatrixSlice[] = [];
      for (const run of runsOf(parts)) slices.push(...(await slicesOf(run, columns)));
      const bias = biases.some((name) => name !== undefined) ? new Float32Array(rows) : undefined;
      for (const [index, part] of parts.entries()) {
        const name = biases[index];
        if (name !== undefined) bias?.set(await readVector(name), part.first);
      }
      return { rows, columns, slices, bias: bias === undefined ? undefined : await upload(`bias of ${names.join()}`, bias) };
    },
    async vector(name, offset = 0) {
      const values = await readVector(name);
      return upload(name, offset === 0 ? values : values.map((value) => value + offset));
    },
    async stacked(names) {
      const rows: Float32Array[] = [];
      for (const name of names) rows.push(await readVector(name));
      const width = rows[0]?.length ?? 0;
      const joined = new Float32Array(rows.length * width);
      for (const [row, values] of rows.entries()) joined.set(values, row * width);
      return upload(names.join(), joined);
    },
    quantizationError: () => error.relativeRms(),
    deviceBytes: () => deviceBytes,
  };
}

/** Parts behind each other that have the same format on the device. */
function runsOf(parts: readonly Part[]): Part[][] {
  const runs: Part[][] = [];
  let format: MatrixFormat | undefined;
  for (const part of parts) {
    const own = matrixFormatOf[part.stored];
    if (own === format) runs.at(-1)?.push(part);
    else runs.push([part]);
    format = own;
  }
  return runs;
}

function outOfMemory(): EngineError {
  return new EngineError(
    "limit-exceeded",
    "the device has no memory left for the weights",
    "choose q4_0 weights, a smaller model or the WASM backend",
  );
}

function product(shape: readonly number[]): number {
  return shape.reduce((all, size) => all * size, 1);
}
