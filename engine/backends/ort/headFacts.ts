/** What each head does, in plain loops over the queries that the tap keeps and the cached keys. */
import type { DecoderSpec } from "../../api.ts";
import type { AttentionFacts, HeadFacts } from "../../attention/api.ts";
import { attentionRow } from "../../reference/attend.ts";
import { HeadSums, spread } from "../../reference/headFacts.ts";
import type { HeadRows } from "./headRows.ts";
import { bandQueries, type TappedLayer } from "./poolAttention.ts";
import { TAP_BLOCK_TOKENS } from "./queryTap.ts";

/** On at most `most` queries with positions in [from, length), of the layers by their numbers. `breathe` is called between heads. */
export async function headFacts(
  spec: DecoderSpec,
  layers: ReadonlyMap<number, TappedLayer>,
  { from, length, most }: { from: number; length: number; most: number },
  breathe: () => Promise<void>,
): Promise<AttentionFacts> {
  const kept = spread(
    Array.from({ length: length - from }, (_, index) => from + index),
    most,
  );
  const { headCount, kvHeadCount, headDim } = spec;
  // The queries are scaled already, as the graphs want them.
  const scored = { ...spec, attentionScale: 1 };
  const heads: HeadFacts[] = [];
  for (const [layer, tapped] of layers) {
    const keys = tapped.keys.map((rows) => byToken(rows, kvHeadCount, length, headDim));
    const sums = Array.from({ length: headCount }, () => new HeadSums());
    for (const position of kept) {
      await breathe();
      const count = (position % TAP_BLOCK_TOKENS) + 1;
      const block = tapped.saved.queries.read(Math.floor(position / TAP_BLOCK_TOKENS), count);
      const bare = new Float32Array(headCount * headDim);
      for (let head = 0; head < headCount; head++) {
        bare.set(block.subarray(((head + 1) * count - 1) * headDim, (head + 1) * count * headDim), head * headDim);
      }
      const queries = tapped.bands.map((band) => bandQueries(spec, tapped, band, bare, headCount, position, 1));
      for (const [head, sum] of sums.entries()) {
        sum.add(attentionRow({ queries, keys, bands: tapped.bands }, scored, 0, head, position), position);
      }
    }
    heads.push(...sums.map((sum, head) => sum.facts(layer, head)));
  }
  return { queries: kept.length, heads };
}

/** Keys [length, G, D]. */
function byToken(rows: HeadRows, kvHeads: number, length: number, headDim: number): Float32Array {
  const keys = new Float32Array(length * kvHeads * headDim);
  for (let start = 0; start < length; start += rows.blockTokens) {
    const count = Math.min(rows.blockTokens, length - start);
    const block = rows.read(start / rows.blockTokens, count);
    for (let head = 0; head < kvHeads; head++) {
      for (let token = 0; token < count; token++) {
        const from = (head * count + token) * headDim;
        keys.set(block.subarray(from, from + headDim), ((start + token) * kvHeads + head) * headDim);
      }
    }
  }
  return keys;
}
