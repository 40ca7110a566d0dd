/** Sampled queries of a chunk and every key in front of them, as words for attn_scores.wgsl and attn_mass.wgsl. */
import type { Band, DecoderSpec } from "../../api.ts";
import type { Span } from "../../kernels/attentionOps.ts";
import { BLOCK_TOKENS, type Pattern } from "../api.ts";
import { addSampleList, type BlockMap, type PageList, type Words } from "../pageLists.ts";

export interface SampledRows {
  /** First position of the chunk. */
  start: number;
  samples: number;
  sampleAt: number;
  /** Keys from here on count; a multiple of BLOCK_TOKENS, like `stride`, their number. */
  firstKey: number;
  stride: number;
  /** Per band the samples' ranges; the pattern's bits are in the first. */
  lists: readonly PageList[];
  /** Per slab the pairs of the blocks of those keys, as an offset and a count. */
  visits: readonly { pairsAt: number; count: number }[];
}

/** The tokens `sampled` of a chunk through whole bands, whatever the pattern; throws RangeError for keys that the cache does not hold. */
export function addSampledRows(
  words: Words,
  map: BlockMap,
  bands: readonly Band[],
  { start, tokens }: Span,
  sampled: readonly number[],
  pattern: Pattern | undefined,
  spec: DecoderSpec,
): SampledRows {
  const samples = sampled.map((token) => ({ position: start + token }));
  const table = sampled.flatMap((token) => [token, start + token, pattern?.near(start + token) ?? 0, 0]);
  const chunk = { start, end: start + tokens };
  const lists = bands.map((band, index) => addSampleList(words, band, samples, index === 0 ? pattern : undefined, spec, chunk));
  const [from, to] = keysOf(bands, samples);
  const firstBlock = Math.floor(from / BLOCK_TOKENS);
  const endBlock = Math.ceil(to / BLOCK_TOKENS);
  const pairs: number[][] = Array.from({ length: map.slabs }, () => []);
  for (let block = firstBlock; block < endBlock; block++) {
    const placed = map.block(block);
    if (placed === undefined) throw new RangeError(`block ${block} of the keys is not in the cache any more`);
    pairs[placed.slab].push(block, placed.place);
  }
  return {
    start,
    samples: samples.length,
    sampleAt: words.add(table),
    firstKey: firstBlock * BLOCK_TOKENS,
    stride: (endBlock - firstBlock) * BLOCK_TOKENS,
    lists,
    visits: pairs.map((list) => ({ pairsAt: words.add(list), count: list.length / 2 })),
  };
}

/** First key that a sample sees through some band, and the end of the last. */
export function keysOf(bands: readonly Band[], samples: readonly { position: number }[]): readonly [from: number, to: number] {
  let [first, end] = [Infinity, 0];
  for (const { position } of samples) {
    for (const band of bands) {
      const [from, to] = band.keys(position);
      if (from >= to) continue;
      first = Math.min(first, from);
      end = Math.max(end, to);
    }
  }
  return [Math.min(first, end), end];
}
