/** Products with weight matrices and rows of embedding tables, as operations on buffers. */
import { storageBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { openLinearPrograms } from "./linearPrograms.ts";
import { integerTile, matmulTiles, tileTokens } from "./matmul.ts";
import { blocksOf, hasWholeBlocks, matrixLayouts, type MatrixFormat } from "./matrixFormats.ts";
import { matvecSums, type MatvecActivation } from "./matvec.ts";
import { groups } from "./programs.ts";
import type { MatmulVariants } from "./variants.ts";

/** Rows [rowStart, rowStart + rows) of a matrix on the device, laid out as matrixFormats.ts says. */
export interface MatrixSlice {
  format: MatrixFormat;
  rowStart: number;
  rows: number;
  codes: GPUBuffer;
  /** Undefined where the format has none. */
  scales: GPUBuffer | undefined;
}

/** A weight matrix [rows, columns] in as many slices as the device's bindings need; formats may differ between slices. */
export interface Matrix {
  rows: number;
  columns: number;
  slices: readonly MatrixSlice[];
  /** [rows] */
  bias: GPUBuffer | undefined;
}

/** Activations that a gate may have in the same dispatch. */
export type GateActivation = Exclude<MatvecActivation, "none">;

/** A matrix, and what it is used for besides `linear`: kernels are compiled for nothing else. */
export interface MatrixUse {
  matrix: Matrix;
  /** Its rows are looked up. */
  table?: boolean;
  /** What `linearToken` is asked for. */
  norm?: boolean;
  gate?: GateActivation;
}

/** RMSNorm in front of a matrix: its factors [columns], and eps. */
export interface InputNorm {
  gain: GPUBuffer;
  eps: number;
}

/** What is done to one token in the same dispatch as the matrix. */
export interface TokenFusion {
  norm?: InputNorm;
  /** The matrix holds gates and then as many rows that they open: y = act(gate) · up. */
  gate?: GateActivation;
  mode?: "write" | "add";
}

export interface LinearSetup {
  gpu: EngineDevice;
  shaders: ShaderCache;
  recorder: Recorder;
  /** Stands in for absent inputs. */
  placeholder: GPUBuffer;
  variants: MatmulVariants;
  /** Most tokens of one product. */
  maxTokens: number;
}

export type LinearOperations = Awaited<ReturnType<typeof openLinear>>;

/** Compiles the kernels that these matrices need. */
export async function openLinear(uses: readonly MatrixUse[], setup: LinearSetup) {
  const { recorder, placeholder, variants } = setup;
  const programs = await openLinearPrograms(uses, setup.shaders, variants);
  const tile = matmulTiles[variants.matmul];
  const { lanes } = matvecSums[variants.matvec];
  const rounded = variants.integers ? roundedInputs(uses, setup) : undefined;

  /** x, normed where a norm is given, as blocks of integers; in the same buffers each time, because commands run in order. */
  const round = (x: GPUBuffer, blocks: number, tokens: number, into: RoundedInputs, norm?: InputNorm): void => {
    const buffers = { x, gain: norm?.gain ?? placeholder, ...into };
    recorder.run(programs.quantize(norm !== undefined), { blocks, eps: norm?.eps ?? 0 }, buffers, [tokens]);
  };

  const linearToken = (x: GPUBuffer, matrix: Matrix, y: GPUBuffer, { norm, gate, mode = "write" }: TokenFusion = {}): void => {
    const { columns, bias = placeholder } = matrix;
    const blocks = blocksOf(columns);
    if (gate !== undefined && matrix.slices.length !== 1) throw new RangeError("gates and what they open lie in several slices");
    let isRounded = false;
    for (const { format, rowStart, rows, codes, scales = placeholder } of matrix.slices) {
      const outputs = gate === undefined ? rows : rows / 2;
      const groupRows = lanes / (variants.matvec === "none" ? 1 : partsPerRow(outputs, blocks));
      const params = { columns, blocks, rowStart, rows, groupRows, ...flags(matrix, mode), eps: norm?.eps ?? 0 };
      const grid = [groups(outputs, groupRows)] as const;
      if (rounded !== undefined && matrixLayouts[format].integers) {
        if (!isRounded) round(x, blocks, 1, rounded, norm);
        isRounded = true;
        const buffers = { codes, scales, xCodes: rounded.codes, bias, y, xScales: rounded.scales };
        recorder.run(programs.matvecIntegers(format, gate ?? "none"), params, buffers, grid);
      } else {
        const program = programs.matvec(format, hasWholeBlocks(matrix), norm !== undefined, gate ?? "none");
        recorder.run(program, params, { codes, scales, x, bias, y, gain: norm?.gain ?? placeholder }, grid);
      }
    }
  };

  return {
    /** ids [tokens] -> x [tokens, columns]: rows of the table, times `scale`. */
    embed(ids: GPUBuffer, table: Matrix, x: GPUBuffer, tokens: number, scale: number): void {
      const { columns } = table;
      for (const { format, rowStart, rows, codes, scales = placeholder } of table.slices) {
        const params = { columns, blocks: blocksOf(columns), rowStart, rows, scale };
        recorder.run(programs.embed(format), params, { codes, scales, ids, x }, [groups(columns, 16 * 64), tokens]);
      }
    },

    /** y [tokens, rows] = x [tokens, columns] Wᵀ + bias, or added to y. */
    linear(x: GPUBuffer, matrix: Matrix, y: GPUBuffer, tokens: number, mode: "write" | "add" = "write"): void {
      if (tokens === 1) {
        linearToken(x, matrix, y, { mode });
        return;
      }
      const { columns, rows: yRow, bias = placeholder } = matrix;
      const blocks = blocksOf(columns);
      let isRounded = false;
      for (const { format, rowStart, rows, codes, scales = placeholder } of matrix.slices) {
        const params = { tokens, columns, blocks, rowStart, rows, yRow, ...flags(matrix, mode) };
        if (rounded !== undefined && matrixLayouts[format].integers) {
          if (!isRounded) round(x, blocks, tokens, rounded);
          isRounded = true;
          const buffers = { codes, scales, xCodes: rounded.codes, xScales: rounded.scales, bias, y };
          const size = tileTokens(integerTile.sizes, tokens);
          const grid = [groups(rows, integerTile.rows), groups(tokens, size)] as const;
          recorder.run(programs.matmulIntegers(format, size), params, buffers, grid);
        } else {
          const size = tileTokens(tile.sizes, tokens);
          const grid = [groups(rows, tile.rows), groups(tokens, size)] as const;
          recorder.run(programs.matmul(format, hasWholeBlocks(matrix), size), params, { codes, scales, x, bias, y }, grid);
        }
      }
    },

    /** Whether a norm in the same dispatch is worth it: where every invocation sums a whole row, every one would sum the squares again. */
    takesNorms: takesNorms(variants),

    /** True where `linearToken` can open gates in the same dispatch: gates and what they open lie in one slice. */
    canGate: (matrix: Matrix): boolean => matrix.slices.length === 1,

    /** The product for one token, with the norm before it and the gate behind it in the same dispatch; y is [rows], with a gate [rows / 2]. */
    linearToken,
  };
}

export function takesNorms({ matvec }: MatmulVariants): boolean {
  return matvec !== "none";
}

interface RoundedInputs {
  codes: GPUBuffer;
  scales: GPUBuffer;
}

/** Room for the inputs of any of the matrices. */
function roundedInputs(uses: readonly MatrixUse[], { gpu, maxTokens }: LinearSetup): RoundedInputs {
  const blocks = Math.max(1, ...uses.map(({ matrix }) => blocksOf(matrix.columns)));
  return {
    codes: storageBuffer(gpu, "rounded inputs", maxTokens * blocks * 32),
    scales: storageBuffer(gpu, "scales of rounded inputs", maxTokens * blocks * 8),
  };
}

/** Enough invocations for a large graphics card to be busy. */
const MATVEC_INVOCATIONS = 2 ** 17;

/** Parts of one output of matvec, a power of two: many where the matrix has few rows, as long as every part has a block. */
function partsPerRow(rows: number, blocks: number): number {
  return 2 ** Math.floor(Math.log2(Math.min(32, Math.max(4, MATVEC_INVOCATIONS / rows), blocks)));
}

function flags({ bias }: Matrix, mode: "write" | "add"): { hasBias: number; accumulate: number } {
  return { hasBias: bias === undefined ? 0 : 1, accumulate: mode === "add" ? 1 : 0 };
}
