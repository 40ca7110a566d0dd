import type { ModelSpec, PooledAttention, PoolRequest } from "../../api.ts";
import type { HeadRows } from "./headRows.ts";
import { outputOf, type OrtGraph } from "./ortGraph.ts";
import { TAP_BLOCK_TOKENS, type SavedQueries } from "./queryTap.ts";

/** One layer's saved queries and its cached keys [G, D] per token. */
export interface TappedLayer {
  saved: SavedQueries;
  keys: HeadRows;
}

/**
 * Pools the softmax attention of `layers` into cells, as PoolRequest says. The probabilities of a block of queries on a block of keys come
 * from a graph and only their sums are kept, so memory does not grow with the square of the length. `breathe` is called between blocks.
 * The request must have passed `checkPoolRequest`.
 */
export async function poolAttention(
  spec: ModelSpec,
  probability: OrtGraph,
  layers: readonly TappedLayer[],
  request: PoolRequest,
  breathe: () => Promise<void>,
): Promise<PooledAttention> {
  const { queryEdges, keyEdges } = request;
  const heads = headsOf(spec, request.head);
  const sums = new Float64Array((queryEdges.length - 1) * (keyEdges.length - 1));
  const firstQuery = queryEdges[0];
  const lastQuery = queryEdges[queryEdges.length - 1];
  const keyLimit = keyEdges[keyEdges.length - 1];
  for (const { saved, keys } of layers) {
    for (let block = Math.floor(firstQuery / TAP_BLOCK_TOKENS); block * TAP_BLOCK_TOKENS < lastQuery; block++) {
      const queryStart = block * TAP_BLOCK_TOKENS;
      const queryCount = Math.min(TAP_BLOCK_TOKENS, lastQuery - queryStart);
      const rows = (heads.count / heads.groups) * queryCount;
      const q = {
        data: saved.queries.read(block, queryCount, heads.first, heads.count),
        dims: [heads.groups, rows, spec.headDim],
      };
      const lse = { data: saved.lse.read(block, queryCount, heads.first, heads.count), dims: [heads.groups, rows, 1] };
      // Keys behind the last query of the block are masked for all of it.
      const visible = Math.min(keyLimit, queryStart + queryCount);
      for (let keyStart = 0; keyStart < visible; keyStart += keys.blockTokens) {
        await breathe();
        const keyCount = Math.min(keys.blockTokens, visible - keyStart);
        const k = keys.read(keyStart / keys.blockTokens, keyCount, heads.firstGroup, heads.groups);
        const outputs = await probability.run({ q, lse, k: { data: k, dims: [heads.groups, keyCount, spec.headDim] } });
        addBlock(sums, request, outputOf(outputs, "p"), { heads: heads.count, queryStart, queryCount, keyStart, keyCount });
      }
    }
  }
  return { rows: queryEdges.length - 1, columns: keyEdges.length - 1, cells: means(sums, request, heads.count * layers.length) };
}

interface Block {
  heads: number;
  queryStart: number;
  queryCount: number;
  keyStart: number;
  keyCount: number;
}

/** Adds the probabilities [heads, queryCount, keyCount] of one block to the cells they belong to, keys behind their query left out. */
function addBlock(sums: Float64Array, request: PoolRequest, p: Float32Array, block: Block): void {
  const { queryEdges, keyEdges } = request;
  const columns = keyEdges.length - 1;
  for (let row = 0; row < queryEdges.length - 1; row++) {
    const rowStart = Math.max(queryEdges[row], block.queryStart);
    const rowEnd = Math.min(queryEdges[row + 1], block.queryStart + block.queryCount);
    for (let query = rowStart; query < rowEnd; query++) {
      const keyEnd = Math.min(query + 1, block.keyStart + block.keyCount);
      for (let column = 0; column < columns; column++) {
        const from = Math.max(keyEdges[column], block.keyStart);
        const to = Math.min(keyEdges[column + 1], keyEnd);
        if (from >= to) continue;
        let sum = 0;
        for (let head = 0; head < block.heads; head++) {
          const line = (head * block.queryCount + query - block.queryStart) * block.keyCount - block.keyStart;
          for (let key = from; key < to; key++) sum += p[line + key];
        }
        const cell = row * columns + column;
        sums[cell] += sum;
      }
    }
  }
}

function means(sums: Float64Array, request: PoolRequest, mapsPerQuery: number): Float32Array<ArrayBuffer> {
  const columns = request.keyEdges.length - 1;
  return Float32Array.from(sums, (sum, cell) => {
    const row = Math.floor(cell / columns);
    const queries = request.queryEdges[row + 1] - request.queryEdges[row];
    return sum / (queries * mapsPerQuery);
  });
}

/** The query heads asked for and the KV heads they read: one of each, or all. */
function headsOf(spec: ModelSpec, head: PoolRequest["head"]) {
  if (head === "mean") return { first: 0, count: spec.headCount, firstGroup: 0, groups: spec.kvHeadCount };
  return { first: head, count: 1, firstGroup: Math.floor((head * spec.kvHeadCount) / spec.headCount), groups: 1 };
}
