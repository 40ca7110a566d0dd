/** Products with weight matrices and rows of embedding tables, as operations on buffers. */
import type { WeightFormat } from "../api.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { embed } from "./embed.ts";
import { embedQ8 } from "./embed_q8.ts";
import { matmul } from "./matmul.ts";
import { matmulQ8 } from "./matmul_q8.ts";
import { matvec } from "./matvec.ts";
import { matvecFold } from "./matvec_fold.ts";
import { matvecQ8 } from "./matvec_q8.ts";

/** Enough invocations for a large graphics card to be busy. */
const MATVEC_INVOCATIONS = 8192;

/** Rows [rowStart, rowStart + rows) of a matrix on the device, in the layout of matmul.wgsl; with scales where it is quantised. */
export interface MatrixSlice {
  rowStart: number;
  rows: number;
  paddedRows: number;
  weight: GPUBuffer;
  scales: GPUBuffer | undefined;
}

/** A weight matrix [rows, columns] in as many slices as the device's bindings need. */
export interface Matrix {
  rows: number;
  columns: number;
  slices: readonly MatrixSlice[];
  /** [rows] */
  bias: GPUBuffer | undefined;
}

/** Buffers that operations share: one that stands in for an absent input, and sums of matvec [splits, rows] (`matvecFloats`). */
export interface Scratch {
  placeholder: GPUBuffer;
  parts: GPUBuffer;
}

export type LinearOperations = Awaited<ReturnType<typeof openLinear>>;

/** Compiles the kernels for matrices stored as `weightFormat` says. */
export async function openLinear(weightFormat: WeightFormat, shaders: ShaderCache, recorder: Recorder, scratch: Scratch) {
  const { placeholder, parts } = scratch;
  // Compiling is slow on software adapters, so what the model has no use for is left out.
  const withQ8 = weightFormat === "q8_0";
  const absent = Promise.resolve(undefined);
  const [embedF32, matmulF32, matvecF32, fold, embedI8, matmulI8, matvecI8] = await Promise.all([
    shaders.program(embed, {}),
    shaders.program(matmul, {}),
    shaders.program(matvec, {}),
    shaders.program(matvecFold, {}),
    withQ8 ? shaders.program(embedQ8, {}) : absent,
    withQ8 ? shaders.program(matmulQ8, {}) : absent,
    withQ8 ? shaders.program(matvecQ8, {}) : absent,
  ]);

  return {
    /** ids [tokens] -> x [tokens, columns]: rows of the table, times `scale`. */
    embed(ids: GPUBuffer, table: Matrix, x: GPUBuffer, tokens: number, scale: number): void {
      const columns4 = table.columns / 4;
      for (const slice of table.slices) {
        const { rowStart, rows, paddedRows, weight, scales } = slice;
        const params = { columns4, rowStart, rows, paddedRows, scale };
        const grid = [groups(columns4, 64), tokens] as const;
        if (scales === undefined) recorder.run(embedF32, params, { ids, table: weight, x }, grid);
        else recorder.run(present(embedI8), params, { ids, table: weight, scales, x }, grid);
      }
    },

    /** y [tokens, rows] = x [tokens, columns] Wᵀ + bias, or added to y. */
    linear(x: GPUBuffer, matrix: Matrix, y: GPUBuffer, tokens: number, mode: "write" | "add" = "write"): void {
      const hasBias = matrix.bias === undefined ? 0 : 1;
      const bias = matrix.bias ?? placeholder;
      const accumulate = mode === "add" ? 1 : 0;
      const columns4 = matrix.columns / 4;
      if (tokens === 1) {
        const splits = matvecSplits(matrix);
        for (const { rowStart, rows, paddedRows, weight: w, scales } of matrix.slices) {
          const params = { columns4, rowStart, rows, paddedRows, allRows: matrix.rows, splits };
          const grid = [groups(rows, 64), splits] as const;
          if (scales === undefined) recorder.run(matvecF32, params, { x, w, parts }, grid);
          else recorder.run(present(matvecI8), params, { x, w, scales, parts }, grid);
        }
        const params = { rows: matrix.rows, splits, hasBias, accumulate };
        recorder.run(fold, params, { parts, bias, y }, [groups(matrix.rows, 64)]);
        return;
      }
      for (const { rowStart, rows, paddedRows, weight: w, scales } of matrix.slices) {
        const params = { tokens, columns4, rowStart, rows, paddedRows, yRow: matrix.rows, hasBias, accumulate };
        const grid = [groups(rows, 64), groups(tokens, 64)] as const;
        if (scales === undefined) recorder.run(matmulF32, params, { x, w, bias, y }, grid);
        else recorder.run(present(matmulI8), params, { x, w, scales, bias, y }, grid);
      }
    },
  };
}

/** Floats of the scratch that matrix-vector products with matrices of up to `rows` rows need. */
export function matvecFloats(rows: number): number {
  return Math.max(rows, MATVEC_INVOCATIONS);
}

/** Parts of one output of a matrix-vector product, so that a short matrix still fills the device. */
function matvecSplits({ rows, columns }: { rows: number; columns: number }): number {
  return Math.max(1, Math.min(16, Math.floor(MATVEC_INVOCATIONS / rows), columns / 4));
}

/** A kernel that was left out is asked for only by a mistake of ours. */
function present<T>(compiled: T | undefined): T {
  if (compiled === undefined) throw new RangeError("a kernel was used that the weight format did not ask for");
  return compiled;
}

function groups(items: number, size: number): number {
  return Math.ceil(items / size);
}
