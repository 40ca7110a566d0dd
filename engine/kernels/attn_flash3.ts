import type { MatrixUnit } from "../gpu/device.ts";
import { kernel, type ShaderFeature } from "../gpu/shader.ts";
import flash3F32 from "./attn_flash3_f32.wgsl";
import floats from "./attn_flash3_floats.wgsl";
import integers from "./attn_flash3_integers.wgsl";
import matrices from "./attn_flash3_matrices.wgsl";
import flash3Tile8 from "./attn_flash3_tile8.wgsl";
import source from "./attn_flash3.wgsl";
import { pageListParams, rowConsts, rowSource } from "./cachedRows.ts";
import elementsF16 from "./matrix_elements_f16.wgsl";
import elementsF32 from "./matrix_elements_f32.wgsl";
import elementsRounded from "./matrix_elements_rounded.wgsl";
import units from "./matrix_units.wgsl";
import unitLoops from "./matrix_units_loops.wgsl";
import unitSubgroups from "./matrix_units_subgroups.wgsl";
import pageList from "./page_list.wgsl";

/** Keys and values as they are cached, and how they are multiplied with queries; integers need 8 bits. */
export type Flash3Kernel =
  { format: "f32"; products: "floats" } | { format: "tile8"; products: "floats" | "integers" | "loops" | MatrixUnit };

/** Widest head whose tiles fit the least workgroup memory that there is, by the format of the tiles. */
export const FLASH3_HEAD_DIM: Readonly<Record<Flash3Kernel["format"], number>> = { f32: 64, tile8: 256 };

/** Rows and keys of a tile, and invocations of a workgroup, which attn_flash3.wgsl names too. */
const TILE = { rows: 32, keys: 16, lanes: 64 } as const;

/** Bytes of workgroup memory with queries and keys as elements of matrix units, beside all else of attn_flash3.wgsl. */
export function matrixBytes(headDim: number, element: MatrixUnit["element"]): number {
  const { rows, keys, lanes } = TILE;
  const elements = (rows + keys) * headDim * (element === "f16" ? 2 : 4);
  const tiles = keys * headDim + 2 * keys * Math.min(headDim, 128);
  const softmax = 16 * (lanes + keys * (rows / 4) + rows / 4);
  return elements + tiles + 4 * rows * keys + softmax;
}

/** The first shape, f16 before f32, that divides a tile and the head and has room for both; undefined where none does. */
export function unitFor(headDim: number, offered: readonly MatrixUnit[], workgroupBytes: number): MatrixUnit | undefined {
  const fits = ({ element, rows, columns, depth, subgroup }: MatrixUnit): boolean => {
    const blocks = (TILE.rows / rows) * (TILE.keys / columns);
    const divides = TILE.rows % rows === 0 && TILE.keys % columns === 0 && headDim % depth === 0;
    const shared = TILE.lanes % subgroup === 0 && blocks % (TILE.lanes / subgroup) === 0;
    return divides && shared && matrixBytes(headDim, element) <= workgroupBytes;
  };
  return offered.filter(fits).sort((a, b) => a.element.localeCompare(b.element))[0];
}

function productSource(products: Flash3Kernel["products"]): string {
  switch (products) {
    case "floats":
      return floats;
    case "integers":
      return integers;
    case "loops":
      return elementsRounded + units + unitLoops + matrices;
    default:
      return (products.element === "f16" ? elementsF16 : elementsF32) + units + unitSubgroups + matrices;
  }
}

/** Constants of the matrix units; 0 where there are none. */
export function unitConsts(products: Flash3Kernel["products"]) {
  const { rows = 0, columns = 0, depth = 0, subgroup = 0 } = typeof products === "string" ? {} : products;
  return { UNIT_ROWS: rows, UNIT_KEYS: columns, UNIT_DEPTH: depth, SUBGROUP: subgroup };
}

function featuresOf(products: Flash3Kernel["products"]): ShaderFeature[] {
  if (typeof products === "string") return [];
  return [...(products.element === "f16" ? ["f16" as const] : []), "chromium_experimental_subgroup_matrix"];
}

export const attnFlash3 = ({ format, products }: Flash3Kernel) =>
  kernel({
    name: "attn_flash3",
    source:
      rowSource({ keys: format, values: format }) +
      (format === "f32" ? flash3F32 : flash3Tile8) +
      productSource(products) +
      pageList +
      source,
    features: featuresOf(products),
    consts: [
      ...(["HEAD_DIM4", "GROUP", "PIPELINED", "BLOCK_TOKENS", "PAGE_TOKENS"] as const),
      ...(["UNIT_ROWS", "UNIT_KEYS", "UNIT_DEPTH", "SUBGROUP"] as const),
      ...rowConsts,
    ],
    params: {
      tokens: "u32",
      start: "u32",
      kvHeads: "u32",
      row4: "u32",
      carry: "u32",
      scale: "f32",
      softcap: "f32",
      ...pageListParams,
    },
    buffers: {
      queries: "read",
      keys: "read",
      values: "read",
      lists: "read",
      slopes: "read",
      lseBefore: "read",
      out: "read_write",
      lse: "read_write",
    },
  });
