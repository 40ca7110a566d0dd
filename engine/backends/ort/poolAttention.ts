import type { Band, DecoderSpec, PooledAttention, PoolRequest, RopeTable } from "../../api.ts";
import { alibiSlopes } from "../../position/alibi.ts";
import { positionsFrom } from "../../position/rope.ts";
import type { HeadRows } from "./headRows.ts";
import { turnedHeads } from "./headTurns.ts";
import { outputOf, type Floats, type OrtGraph } from "./ortGraph.ts";
import { TAP_BLOCK_TOKENS, type SavedQueries } from "./queryTap.ts";

/** One layer's saved queries, its cached keys [G, D] per token and copy, and how they stand to each other. */
export interface TappedLayer {
  saved: SavedQueries;
  keys: readonly HeadRows[];
  bands: readonly Band[];
  /** Undefined where the layer does not rotate. */
  table: RopeTable | undefined;
  queryScale: (position: number) => number;
}

/**
 * Pools the softmax attention of `layers` into cells, as PoolRequest says. The probabilities of a block of queries on a block of keys come
 * from a graph and only their sums are kept, so memory does not grow with the square of the length. `breathe` is called between blocks.
 * The request must have passed `checkPoolRequest`.
 */
export async function poolAttention(
  spec: DecoderSpec,
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
  for (const layer of layers) {
    for (let block = Math.floor(firstQuery / TAP_BLOCK_TOKENS); block * TAP_BLOCK_TOKENS < lastQuery; block++) {
      const queryStart = block * TAP_BLOCK_TOKENS;
      const queryCount = Math.min(TAP_BLOCK_TOKENS, lastQuery - queryStart);
      const rows = (heads.count / heads.groups) * queryCount;
      const bare = layer.saved.queries.read(block, queryCount, heads.first, heads.count);
      const lse = { data: layer.saved.lse.read(block, queryCount, heads.first, heads.count), dims: [heads.groups, rows, 1] };
      for (const band of layer.bands) {
        const keys = layer.keys[band.copy];
        if (keys === undefined) throw new RangeError(`the layer has no copy ${band.copy} of its keys`);
        const q = {
          data: bandQueries(spec, layer, band, bare, heads.count, queryStart, queryCount),
          dims: [heads.groups, rows, spec.headDim],
        };
        const from = band.keys(queryStart)[0];
        const visible = Math.min(keyLimit, band.keys(queryStart + queryCount - 1)[1]);
        const firstBlock = Math.floor(from / keys.blockTokens) * keys.blockTokens;
        for (let keyStart = firstBlock; keyStart < visible; keyStart += keys.blockTokens) {
          await breathe();
          const keyCount = Math.min(keys.blockTokens, visible - keyStart);
          const k = keys.read(keyStart / keys.blockTokens, keyCount, heads.firstGroup, heads.groups);
          const place: Block = { heads: heads.count, queryStart, queryCount, keyStart, keyCount, band };
          const outputs = await probability.run({
            q,
            lse,
            k: { data: k, dims: [heads.groups, keyCount, spec.headDim] },
            ...(spec.alibi === undefined ? {} : { bias: alibiBias(spec, heads.first, place, [heads.groups, rows, keyCount]) }),
          });
          addBlock(sums, request, outputOf(outputs, "p"), place);
        }
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
  band: Band;
}

/** Saved queries [heads, count, D] in the positions of a band, scaled as the scores need them. */
export function bandQueries(
  spec: DecoderSpec,
  layer: TappedLayer,
  band: Band,
  bare: Float32Array<ArrayBuffer>,
  heads: number,
  start: number,
  count: number,
): Float32Array<ArrayBuffer> {
  const { headDim, attentionScale } = spec;
  // turnedHeads reads token by token, as projections lie.
  const byToken = new Float32Array(bare.length);
  for (let head = 0; head < heads; head++) {
    for (let token = 0; token < count; token++) {
      const from = (head * count + token) * headDim;
      byToken.set(bare.subarray(from, from + headDim), (token * heads + head) * headDim);
    }
  }
  const { table } = layer;
  const turn = table === undefined ? undefined : { table, positions: positionsFrom(start, count, band.queryPosition) };
  return turnedHeads(byToken, heads, headDim, turn, (token) => layer.queryScale(start + token) * attentionScale);
}

/** What ALiBi takes from the scores [heads, queryCount, keyCount] of a block. */
function alibiBias(spec: DecoderSpec, firstHead: number, block: Block, dims: readonly number[]): Floats {
  const slopes = alibiSlopes(spec.headCount, spec.alibi?.maxBias);
  const data = new Float32Array(block.heads * block.queryCount * block.keyCount);
  for (let row = 0; row < block.heads * block.queryCount; row++) {
    const slope = slopes[firstHead + Math.floor(row / block.queryCount)];
    const position = block.queryStart + (row % block.queryCount);
    for (let key = 0; key < block.keyCount; key++) data[row * block.keyCount + key] = slope * (position - block.keyStart - key);
  }
  return { data, dims };
}

/** Adds the probabilities [heads, queryCount, keyCount] of one block to the cells they belong to, keys that a query does not see left out. */
function addBlock(sums: Float64Array, request: PoolRequest, p: Float32Array, block: Block): void {
  const { queryEdges, keyEdges } = request;
  const columns = keyEdges.length - 1;
  for (let row = 0; row < queryEdges.length - 1; row++) {
    const rowStart = Math.max(queryEdges[row], block.queryStart);
    const rowEnd = Math.min(queryEdges[row + 1], block.queryStart + block.queryCount);
    for (let query = rowStart; query < rowEnd; query++) {
      const [seenFrom, seenTo] = block.band.keys(query);
      const keyStart = Math.max(seenFrom, block.keyStart);
      const keyEnd = Math.min(seenTo, block.keyStart + block.keyCount);
      for (let column = 0; column < columns; column++) {
        const from = Math.max(keyEdges[column], keyStart);
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
function headsOf(spec: DecoderSpec, head: PoolRequest["head"]) {
  if (head === "mean") return { first: 0, count: spec.headCount, firstGroup: 0, groups: spec.kvHeadCount };
  return { first: head, count: 1, firstGroup: Math.floor((head * spec.kvHeadCount) / spec.headCount), groups: 1 };
}
