/**
 * The pages that decoded tokens read, chosen again for maps of attention: the choice follows from a query, which the tap keeps, and from bounds of
 * full pages, which do not change, so nothing has to be remembered but which tokens chose.
 */
import type { DecoderSpec } from "../api.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { ChosenPages } from "../kernels/chosenPages.ts";
import type { PageOperations } from "../kernels/pageOps.ts";
import type { Slab } from "../kv-cache/pages.ts";
import { NONE, type Words } from "./pageLists.ts";
import type { Sample } from "./tapSamples.ts";

/** Samples whose choice goes into one submission. */
const TOGETHER = 64;

export const noneChosen: ChosenPages = { chosenAt: NONE, chosenCount: 0 };

/** Room in the words of a list for what samples chose. */
export interface ChosenRoom extends ChosenPages {
  /** Chooses with the tap's queries [slots, H, D], one buffer per band, into the buffer that the words were put into. */
  write(lists: GPUBuffer, queries: readonly GPUBuffer[]): Promise<void>;
}

/** Positions of tokens that chose their pages. */
export interface DecodedRuns {
  add(position: number): void;
  has(position: number): boolean;
  truncate(length: number): void;
}

export function openDecodedRuns(): DecodedRuns {
  let runs: { start: number; end: number }[] = [];
  return {
    add(position) {
      const last = runs.at(-1);
      if (last?.end === position) last.end++;
      else runs.push({ start: position, end: position + 1 });
    },
    has: (position) => runs.some(({ start, end }) => position >= start && position < end),
    truncate(length) {
      runs = runs.filter(({ start }) => start < length).map(({ start, end }) => ({ start, end: Math.min(end, length) }));
    },
  };
}

export interface ChoiceSource {
  spec: DecoderSpec;
  recorder: Recorder;
  ops: PageOperations;
  /** Slabs of the layer, and the borders of their pages, one more. */
  slabs: readonly Slab[];
  borders: ArrayLike<number>;
  count: number;
  /** Pages that hold the tokens up to a position, it included. */
  pagesTo: (position: number) => number;
  /** Scores them for a query of the tap, and gives where the scores lie. */
  score: (queries: readonly GPUBuffer[], sample: Sample) => { scores: GPUBuffer; scoreStride: number };
}

/** Room for those `samples` that chose, in words that are not on the device yet. */
export function addChosenRoom(words: Words, source: ChoiceSource, samples: readonly Sample[], chose: DecodedRuns): ChosenRoom {
  const { spec, recorder, ops, slabs, borders, count, pagesTo, score } = source;
  const chosenAt = words.add(new Uint32Array(samples.length).fill(NONE));
  const bordersAt = words.add(borders);
  const tablesAt = words.add(new Uint32Array(2 * slabs.length * spec.kvHeadCount));
  const choosing = samples.filter(({ position }) => chose.has(position));
  const pairsAt = choosing.map(() => words.add(new Uint32Array(2 * spec.kvHeadCount * count)));
  for (const [index, sample] of choosing.entries()) words.set(chosenAt + samples.indexOf(sample), pairsAt[index]);
  return {
    chosenAt,
    chosenCount: count,
    async write(lists, queries) {
      for (const [index, sample] of choosing.entries()) {
        const { scores, scoreStride } = score(queries, sample);
        const size = { pages: pagesTo(sample.position), count, scoreStride, slabs: slabs.length };
        ops.selectPages(scores, lists, { bordersAt, tablesAt, pairsAt: pairsAt[index] }, size);
        if (index % TOGETHER === TOGETHER - 1) await recorder.finish();
      }
    },
  };
}
