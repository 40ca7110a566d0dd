/**
 * The search for each head's cheapest shape (patterns/minference.ts), all sizes of a shape at once: sizes double from step to step and each
 * shows what the one before shows and more, so a key is described by the step that first shows it. One pass over the scores then tells what
 * every size keeps, where trying them one by one takes a pass each. Chooses what `searchShapes` chooses.
 */
import type { Reals } from "../../position/rope.ts";
import { BLOCK_TOKENS } from "../api.ts";
import { largest } from "../patterns/largest.ts";
import { FIRST_STEP, FORCED_COLUMNS, FORCED_DISTANCES, type BlockScores, type MassSums } from "../patterns/minference.ts";
import { blocksRead, type HeadPattern } from "../patterns/sets.ts";

/** Shapes and steps of attn_steps.wgsl. */
export const SHAPES = ["a-shape", "vertical-slash", "blocks"] as const;
export const STEPS = 16;
/** Step of what no size shows. */
export const NEVER = 255;

/** Of one head: the step that first shows each key, each distance, and each block of keys to each block of the chunk's queries. */
export interface HeadSteps {
  columns: Uint8Array;
  distances: Uint8Array;
  firstQueryBlock: number;
  keyBlocks: number;
  /** [queryBlocks, keyBlocks] */
  blocks: Uint8Array;
}

export function headSteps({ columns, distances }: MassSums, blocks: BlockScores): HeadSteps {
  // Sizes that show every distance are as dear as seeing everything, so they are never chosen.
  const sizes = stepsBelow(FIRST_STEP.distances, distances.length);
  return {
    columns: stepsOf(forced(columns, FORCED_COLUMNS), FIRST_STEP.columns, sizes),
    distances: stepsOf(forced(distances, FORCED_DISTANCES), FIRST_STEP.distances, sizes),
    ...{ firstQueryBlock: blocks.firstQueryBlock, keyBlocks: blocks.keyBlocks },
    blocks: blockSteps(blocks),
  };
}

/** Steps whose size is below `count`, the largest of what could be shown. */
function stepsBelow(first: number, count: number): number {
  let steps = 0;
  while (steps < STEPS && first * 2 ** steps < count) steps++;
  return steps;
}

/** For each score the first of `sizes` steps at which it is among the `first` · 2^step largest; of equal ones the first are. */
function stepsOf(scores: Float64Array, first: number, sizes: number): Uint8Array {
  const steps = new Uint8Array(scores.length).fill(NEVER);
  let values = scores;
  let places: Int32Array | undefined;
  for (let step = sizes - 1; step >= 0; step--) {
    const best = largest(values, first * 2 ** step);
    const kept = new Float64Array(best.length);
    const keptPlaces = new Int32Array(best.length);
    for (let at = 0; at < best.length; at++) {
      kept[at] = values[best[at]];
      keptPlaces[at] = places === undefined ? best[at] : places[best[at]];
      steps[keptPlaces[at]] = step;
    }
    // What a smaller size shows is among what this one does.
    values = kept;
    places = keptPlaces;
  }
  return steps;
}

function blockSteps({ firstQueryBlock, keyBlocks, scores }: BlockScores): Uint8Array {
  const steps = new Uint8Array(scores.length);
  for (let row = 0; row * keyBlocks < scores.length; row++) {
    const own = firstQueryBlock + row;
    const values = Float64Array.from(scores.subarray(row * keyBlocks, (row + 1) * keyBlocks));
    values[own] = Infinity;
    // The last size shows every block that can be seen.
    const sizes = Math.min(STEPS, stepsBelow(FIRST_STEP.blocks, keyBlocks) + 1);
    steps.set(stepsOf(values, FIRST_STEP.blocks, sizes), row * keyBlocks);
  }
  return steps;
}

function forced(sums: Reals, count: number): Float64Array {
  return Float64Array.from(sums).fill(Infinity, 0, count);
}

/**
 * The cheapest pattern that keeps `recall` of the attention, cost being the blocks of keys that the last block of queries reads; of equal
 * ones the first of SHAPES; dense where none is cheaper. `seen` [SHAPES, STEPS] is the mass that is first seen at a step; A-shapes see all of
 * it in the end.
 */
export function cheapestShape(steps: HeadSteps, seen: ArrayLike<number>, recall: number): HeadPattern {
  const lastBlock = steps.keyBlocks - 1;
  const costs = [aShapeCosts(lastBlock), verticalSlashCosts(steps), blockCosts(steps)];
  let best = { cost: lastBlock + 1, shape: -1, step: 0 };
  let total = 0;
  for (let step = 0; step < STEPS; step++) total += seen[step];
  for (const [shape, cost] of costs.entries()) {
    let kept = 0;
    for (let step = 0; step < cost.length && cost[step] < best.cost; step++) {
      kept += seen[shape * STEPS + step];
      if (kept / total >= recall) best = { cost: cost[step], shape, step };
    }
  }
  return patternAt(steps, best.shape, best.step);
}

function patternAt(steps: HeadSteps, shape: number, step: number): HeadPattern {
  const upTo = (list: Uint8Array): Uint32Array => placesUpTo(list, step);
  switch (SHAPES[shape]) {
    case "a-shape":
      return { shape: "a-shape", sinks: BLOCK_TOKENS, window: FIRST_STEP.window * 2 ** step };
    case "vertical-slash":
      return { shape: "vertical-slash", columns: upTo(steps.columns), distances: upTo(steps.distances) };
    case "blocks": {
      const { firstQueryBlock, keyBlocks, blocks } = steps;
      const rows = Array.from({ length: blocks.length / keyBlocks }, (_, row) =>
        Array.from(upTo(blocks.subarray(row * keyBlocks, (row + 1) * keyBlocks))),
      );
      return { shape: "blocks", firstQueryBlock, lists: rows };
    }
    case undefined:
      return { shape: "dense" };
  }
}

function placesUpTo(steps: Uint8Array, most: number): Uint32Array {
  let count = 0;
  for (const step of steps) if (step <= most) count++;
  const places = new Uint32Array(count);
  for (let place = 0, at = 0; at < count; place++) if (steps[place] <= most) places[at++] = place;
  return places;
}

function aShapeCosts(lastBlock: number): number[] {
  return Array.from({ length: STEPS }, (_, step) =>
    blocksRead({ shape: "a-shape", sinks: BLOCK_TOKENS, window: FIRST_STEP.window * 2 ** step }, lastBlock),
  );
}

/** Blocks that keys of a step lie in, or that lie at a distance of a step from the first or the last query of the block. */
function verticalSlashCosts({ columns, distances, keyBlocks }: HeadSteps): number[] {
  const touched = new Uint8Array(keyBlocks).fill(NEVER);
  const firstQuery = (keyBlocks - 1) * BLOCK_TOKENS;
  for (let key = 0; key < columns.length; key++) lower(touched, Math.floor(key / BLOCK_TOKENS), columns[key]);
  for (let distance = 0; distance < distances.length; distance++) {
    const nearest = firstQuery + BLOCK_TOKENS - 1 - distance;
    if (nearest >= 0) lower(touched, Math.floor(nearest / BLOCK_TOKENS), distances[distance]);
    if (distance <= firstQuery) lower(touched, Math.floor((firstQuery - distance) / BLOCK_TOKENS), distances[distance]);
  }
  const sizes = stepsBelow(FIRST_STEP.distances, distances.length);
  return countsUpTo(touched).slice(0, sizes);
}

function blockCosts({ blocks, keyBlocks }: HeadSteps): number[] {
  return countsUpTo(blocks.subarray(blocks.length - keyBlocks));
}

function lower(steps: Uint8Array, at: number, step: number): void {
  if (step < steps[at]) steps[at] = step;
}

/** For each step how many are at most it. */
function countsUpTo(steps: Uint8Array): number[] {
  const counts = new Array<number>(STEPS).fill(0);
  for (const step of steps) if (step < STEPS) counts[step]++;
  for (let step = 1; step < STEPS; step++) counts[step] += counts[step - 1];
  return counts;
}
