/**
 * How a weight matrix lies on the device. Rows are cut into blocks of 32 weights and put together in panels of 32 rows (matrix.wgsl);
 * a format says what a unit of 16 bytes and a word of scales hold, which its .wgsl file reads back.
 *
 * | format     | bits per weight | holds exactly, from formats of files                        |
 * | ---------- | --------------- | ----------------------------------------------------------- |
 * | f32        | 32              | f32, integers; f64 is rounded                               |
 * | f16        | 16              | f16, f8_e4m3, f8_e5m2                                       |
 * | bf16       | 16              | bf16                                                        |
 * | q8_0       | 8.5             | q8_0, iq4_nl (4.5 in the file)                              |
 * | q4_0, q5_0 | 4.5, 5.5        | the same                                                    |
 * | q4_1, q5_1 | 5, 6            | the same                                                    |
 * | q4_k, q5_k | 4.5, 5.5        | the same                                                    |
 * | q6_k       | 6.63            | the same (6.56 in the file)                                 |
 * | affine4    | 6               | affine4                                                     |
 * | affine4_16 | 8               | q2_k (2.63 in the file), q3_k (3.44)                        |
 * | affine8    | 10              | affine8, iq4_xs (4.25 in the file), mxfp4 (4.25)            |
 *
 * What is rare is kept in a wider format rather than with a kernel of its own.
 */
import type { TensorFormat } from "../api.ts";
import type { Matrix } from "./linear.ts";
import shared from "./matrix.wgsl";
import affine4 from "./matrix_affine4.wgsl";
import affine8 from "./matrix_affine8.wgsl";
import bf16 from "./matrix_bf16.wgsl";
import f16 from "./matrix_f16.wgsl";
import f32 from "./matrix_f32.wgsl";
import nibbles from "./matrix_nibbles.wgsl";
import q4_0 from "./matrix_q4_0.wgsl";
import q4_k from "./matrix_q4_k.wgsl";
import q6_k from "./matrix_q6_k.wgsl";
import q8_0 from "./matrix_q8_0.wgsl";

export type MatrixFormat =
  | ("f32" | "f16" | "bf16")
  | ("q8_0" | "q4_0" | "q4_1" | "q5_0" | "q5_1" | "q4_k" | "q5_k" | "q6_k")
  | ("affine4" | "affine4_16" | "affine8");

/** Rows of a panel, and weights of a block. */
export const PANEL_ROWS = 32;
export const BLOCK = 32;

/** Constants that the files of the formats use. */
export const matrixConsts = ["HALVES_BY_INTEGERS", "FIFTH_BITS", "GROUPS", "HALF_PAIRS"] as const;
type FormatConsts = Partial<Record<"FIFTH_BITS" | "GROUPS" | "HALF_PAIRS", number>>;

export interface MatrixLayout {
  /** What stands in front of a kernel that reads such a matrix. */
  readonly source: string;
  readonly consts: FormatConsts;
  /** Units of four words, and words of scales, of a row of `blocks` blocks. */
  readonly units: (blocks: number) => number;
  readonly words: (blocks: number) => number;
  /** Its codes are small integers, so that products can be made of integers. */
  readonly integers: boolean;
}

const half = (blocks: number): number => Math.ceil(blocks / 2);
const none = (): number => 0;
const withFifths = (blocks: number): number => blocks + Math.ceil(blocks / 4);
const fourBits = (format: string, consts: FormatConsts, words: (blocks: number) => number): MatrixLayout => ({
  source: shared + nibbles + format,
  consts,
  units: consts.FIFTH_BITS === 1 ? withFifths : (blocks) => blocks,
  words,
  integers: consts.GROUPS !== 2,
});
const plain = (format: string, unitsPerBlock: number): MatrixLayout => ({
  source: shared + format,
  consts: {},
  units: (blocks) => blocks * unitsPerBlock,
  words: none,
  integers: false,
});

export const matrixLayouts: Readonly<Record<MatrixFormat, MatrixLayout>> = {
  f32: plain(f32, 8),
  f16: plain(f16, 4),
  bf16: plain(bf16, 4),
  q8_0: { source: shared + q8_0, consts: {}, units: (blocks) => 2 * blocks, words: half, integers: true },
  q4_0: fourBits(q4_0, {}, half),
  q5_0: fourBits(q4_0, { FIFTH_BITS: 1 }, half),
  q4_1: fourBits(affine4, { HALF_PAIRS: 1 }, (blocks) => blocks),
  q5_1: fourBits(affine4, { HALF_PAIRS: 1, FIFTH_BITS: 1 }, (blocks) => blocks),
  q4_k: fourBits(q4_k, {}, half),
  q5_k: fourBits(q4_k, { FIFTH_BITS: 1 }, half),
  q6_k: {
    source: shared + q6_k,
    consts: {},
    units: (blocks) => 1.5 * blocks,
    words: (blocks) => (5 * blocks) / 8,
    integers: false,
  },
  affine4: fourBits(affine4, {}, (blocks) => 2 * blocks),
  affine4_16: fourBits(affine4, { GROUPS: 2 }, (blocks) => 4 * blocks),
  affine8: {
    source: shared + affine8,
    consts: {},
    units: (blocks) => 2 * blocks,
    words: (blocks) => 2 * blocks,
    integers: false,
  },
};

/** How a tensor of a file's format lies on the device. */
export const matrixFormatOf: Readonly<Record<TensorFormat, MatrixFormat>> = {
  ...{ f64: "f32", f32: "f32", f16: "f16", bf16: "bf16", f8_e4m3: "f16", f8_e5m2: "f16" },
  ...{ i64: "f32", i32: "f32", i16: "f32", i8: "f32", u64: "f32", u32: "f32", u16: "f32", u8: "f32", bool: "f32" },
  ...{ q8_0: "q8_0", q4_0: "q4_0", q4_1: "q4_1", q5_0: "q5_0", q5_1: "q5_1", iq4_nl: "q8_0" },
  ...{ q2_k: "affine4_16", q3_k: "affine4_16", q4_k: "q4_k", q5_k: "q5_k", q6_k: "q6_k" },
  ...{ iq4_xs: "affine8", mxfp4: "affine8", affine4: "affine4", affine8: "affine8" },
};

/** Blocks of a row of `columns` weights. */
export function blocksOf(columns: number): number {
  return Math.ceil(columns / BLOCK);
}

/** Bytes on the device of `rows` rows, in whole panels. */
export function matrixBytes(format: MatrixFormat, rows: number, columns: number): { codes: number; scales: number } {
  const { units, words } = matrixLayouts[format];
  const blocks = blocksOf(columns);
  const padded = Math.ceil(rows / PANEL_ROWS) * PANEL_ROWS;
  return { codes: padded * units(blocks) * 16, scales: padded * words(blocks) * 4 };
}

/** Constants of a kernel that reads the format. */
export function constsOf(format: MatrixFormat, halvesByIntegers: boolean): Record<(typeof matrixConsts)[number], number> {
  const { FIFTH_BITS = 0, GROUPS = 1, HALF_PAIRS = 0 } = matrixLayouts[format].consts;
  return { HALVES_BY_INTEGERS: halvesByIntegers ? 1 : 0, FIFTH_BITS, GROUPS, HALF_PAIRS };
}

/** True where rows of x can be read four at a time without looking for their end. */
export function hasWholeBlocks({ columns }: Pick<Matrix, "columns">): boolean {
  return columns % BLOCK === 0;
}
