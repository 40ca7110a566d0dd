import { kernel, type ShaderFeature } from "../gpu/shader.ts";
import { matrixConsts, matrixLayouts, type MatrixFormat } from "./matrixFormats.ts";
import direct from "./matmul_direct.wgsl";
import input from "./matmul_input.wgsl";
import inputAny from "./matmul_input_any.wgsl";
import integers from "./matmul_integers.wgsl";
import tiled from "./matmul_tiled.wgsl";
import tiledF16 from "./matmul_tiled_f16.wgsl";

/** Kernels for several tokens by floating-point products: rows that a workgroup computes, and tokens, of which there are sizes. */
export const matmulTiles = {
  tiled: { source: tiled, rows: 64, sizes: [16, 64], features: [] },
  direct: { source: direct, rows: 32, sizes: [64], features: [] },
  tiled_f16: { source: tiledF16, rows: 64, sizes: [16, 64], features: ["f16"] },
} as const satisfies Record<
  string,
  { source: string; rows: number; sizes: readonly number[]; features: readonly ShaderFeature[] }
>;
export type MatmulTile = keyof typeof matmulTiles;

/** What reads rows of x: four values at a time where rows are whole blocks. */
export function inputSource(wholeBlocks: boolean): string {
  return wholeBlocks ? input : inputAny;
}

export function matmul(format: MatrixFormat, tile: MatmulTile, wholeBlocks: boolean) {
  return kernel({
    name: `matmul_${tile}_${format}`,
    source: matrixLayouts[format].source + inputSource(wholeBlocks) + matmulTiles[tile].source,
    features: matmulTiles[tile].features,
    consts: [...matrixConsts, "TOKENS"],
    params: {
      tokens: "u32",
      columns: "u32",
      blocks: "u32",
      rowStart: "u32",
      rows: "u32",
      yRow: "u32",
      hasBias: "u32",
      accumulate: "u32",
    },
    buffers: { codes: "read", scales: "read", x: "read", bias: "read", y: "read_write" },
  });
}

/** The same for products of integers. */
export const integerTile = { rows: 64, sizes: [16, 64] } as const;

/** The smallest tile that `tokens` tokens fill, or the largest. */
export function tileTokens(sizes: readonly number[], tokens: number): number {
  return sizes.find((size) => tokens <= size) ?? Math.max(...sizes);
}

export function matmulIntegers(format: MatrixFormat) {
  return kernel({
    name: `matmul_integers_${format}`,
    source: matrixLayouts[format].source + integers,
    consts: [...matrixConsts, "TOKENS"],
    params: { tokens: "u32", blocks: "u32", rowStart: "u32", rows: "u32", yRow: "u32", hasBias: "u32", accumulate: "u32" },
    buffers: { codes: "read", scales: "read", xCodes: "read", xScales: "read", bias: "read", y: "read_write" },
  });
}
