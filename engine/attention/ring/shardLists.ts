/** What each piece of a rank's tokens sees of each rank's block, as page lists, and where its own keys go; written once per prompt. */
import type { Band, DecoderSpec, LayerKind } from "../../api.ts";
import { layerBands } from "../../position/bands.ts";
import { addPageLists, addSlots, type BlockMap, type PageList, type Words } from "../pageLists.ts";
import type { RankShard } from "./compute.ts";
import { blockRanges, pairsIn } from "./ranges.ts";
import type { Shard } from "./schedule.ts";

/** `tokens` tokens of a shard from place `start` on. */
export interface Piece {
  start: number;
  tokens: number;
}

/** One dispatch of attention: a band, and what is listed of a block. */
export interface SeenThroughBand {
  band: number;
  copy: number;
  list: PageList;
}

/** Lists of one kind of layer. */
export interface KindLists {
  bands: readonly Band[];
  /** By owner of the block, then by piece: what to dispatch; nothing where no key is seen. */
  seen: readonly (readonly (readonly SeenThroughBand[])[])[];
  /** By owner: pairs of a query and a key that meet. */
  pairs: readonly number[];
}

export interface ShardLists {
  kind(layer: LayerKind): KindLists;
  /** By piece: where the slots of its own keys begin, by slab, of which there is one. */
  slotsAt: readonly ReadonlyMap<number, number>[];
}

/** A block lies in one slab, its tokens in order. */
const oneSlab: BlockMap = { slabs: 1, block: (index) => ({ slab: 0, place: index }) };

/** The shards' layout must suit the model (`checkLayout`). */
export function shardLists(words: Words, spec: DecoderSpec, shard: RankShard, pieces: readonly Piece[]): ShardLists {
  const { rank, shards, plan } = shard;
  const own = shards[rank];
  const made = new Map<string, KindLists>();
  const keyOf = ({ window, rotation }: LayerKind): string => `${rotation} ${window ?? "all"}`;
  for (const layer of spec.layers) {
    if (made.has(keyOf(layer))) continue;
    const bands = layerBands(plan, layer);
    const seen = shards.map((block) => pieces.map((piece) => seenOf(words, spec, bands, own, piece, block)));
    const pairs = shards.map((block) => bands.reduce((sum, band) => sum + pairsIn(blockRanges(own, block, band)), 0));
    made.set(keyOf(layer), { bands, seen, pairs });
  }
  const slotsAt = pieces.map(({ start, tokens }) => addSlots(words, oneSlab, start, tokens));
  return {
    kind(layer) {
      const lists = made.get(keyOf(layer));
      if (lists === undefined) throw new RangeError(`no lists for layers ${keyOf(layer)}`);
      return lists;
    },
    slotsAt,
  };
}

function seenOf(
  words: Words,
  spec: DecoderSpec,
  bands: readonly Band[],
  own: Shard,
  { start, tokens }: Piece,
  block: Shard,
): SeenThroughBand[] {
  const queries = own.subarray(start, start + tokens);
  const runs = spec.alibi === undefined ? [{ first: 0, count: block.length, position: 0 }] : runsOf(block);
  return bands.flatMap(({ copy, ...band }, index) => {
    const ranges = blockRanges(queries, block, band);
    return runs.flatMap(({ first, count, position }): SeenThroughBand[] => {
      const inRun = (place: number): number => Math.min(first + count, Math.max(first, place));
      const listed: Band = {
        copy,
        keys: (token) => [inRun(ranges[2 * (token - start)]), inRun(ranges[2 * (token - start) + 1])],
        // ALiBi counts distances in places of the run.
        queryPosition: (token) => Math.max(0, own[token] - position + first),
      };
      const chunk = { band: listed, start, tokens, pattern: undefined, heads: spec.headCount, kvHeads: spec.kvHeadCount };
      return addPageLists(words, oneSlab, chunk).map(({ list }) => ({ band: index, copy, list }));
    });
  });
}

/** Stretches of a block whose positions follow each other. */
function runsOf(block: Shard): { first: number; count: number; position: number }[] {
  const runs: { first: number; count: number; position: number }[] = [];
  for (const [place, position] of block.entries()) {
    const last = runs.at(-1);
    if (last !== undefined && last.position + last.count === position) last.count++;
    else runs.push({ first: place, count: 1, position });
  }
  return runs;
}
