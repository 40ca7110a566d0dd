/** Which of several kernels for the same product are used on a device, as plain data. */
import type { MatmulTile } from "./matmul.ts";
import type { MatvecSum } from "./matvec.ts";

export interface MatmulVariants {
  /** Several tokens: with tiles in workgroup memory, the same in binary16, or without tiles, which is faster on software adapters. */
  matmul: MatmulTile;
  /** How the sums of one token's products are put together: in workgroup memory, within subgroups first, or by one invocation each. */
  matvec: MatvecSum;
  /** Products of integers where the matrix has them, with inputs rounded to 8 bits. */
  integers: boolean;
  /** Unpacks binary16 by integer operations, where the device's own unpacking loses the smallest numbers. */
  halvesByIntegers: boolean;
}

/** What every device can do, and does exactly. */
export const plainVariants: MatmulVariants = { matmul: "tiled", matvec: "shared", integers: false, halvesByIntegers: false };
