import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { keptShare } from "../../../engine/attention/patterns/keptMass.ts";
import { massSums, searchShapes, type HeadEstimate } from "../../../engine/attention/patterns/minference.ts";
import { headsPattern } from "../../../engine/attention/patterns/sets.ts";
import { cheapestShape, headSteps, SHAPES, STEPS, type HeadSteps } from "../../../engine/attention/sparse/shapeSteps.ts";
import { fill } from "../../support/goldenModels.ts";

const BLOCK = 64;

/** One head: its last queries' weights, and block scores of a chunk of `chunk` queries. */
interface Head {
  rows: Float64Array[];
  estimate: HeadEstimate;
}

/** Logarithms of weights, before noise. */
type Loudness = (distance: number, key: number) => number;

/** Weights of noise of that strength around what is loud. */
function head(name: string, tokens: number, chunk: number, noise: number, loudness: Loudness): Head {
  const first = tokens - Math.min(64, chunk);
  const rows = Array.from({ length: tokens - first }, (_, row) => {
    const weights = fill(`${name} ${row}`, [first + row + 1], noise).map((value, key) =>
      Math.exp(value + loudness(first + row - key, key)),
    );
    const sum = weights.reduce((total, each) => total + each, 0);
    return weights.map((each) => each / sum);
  });
  const firstQueryBlock = Math.floor((tokens - chunk) / BLOCK);
  const keyBlocks = Math.ceil(tokens / BLOCK);
  const scores = fill(`${name} blocks`, [(keyBlocks - firstQueryBlock) * keyBlocks], 1).map((value, at) =>
    at % keyBlocks > firstQueryBlock + Math.floor(at / keyBlocks) ? -Infinity : value,
  );
  return { rows, estimate: { mass: massSums(rows), blocks: { firstQueryBlock, keyBlocks, scores } } };
}

/** What attn_steps.wgsl sums, from the definition of a step. */
function seenBySteps(steps: HeadSteps, rows: readonly Float64Array[]): Float64Array {
  const seen = new Float64Array(SHAPES.length * STEPS);
  for (const row of rows) {
    const position = row.length - 1;
    row.forEach((weight, key) => {
      const distance = position - key;
      const block = (Math.floor(position / BLOCK) - steps.firstQueryBlock) * steps.keyBlocks + Math.floor(key / BLOCK);
      let doublings = 0;
      while (key >= BLOCK && distance >= BLOCK * 2 ** doublings) doublings++;
      const of = [doublings, Math.min(steps.columns[key], steps.distances[distance]), steps.blocks[block]];
      for (const [shape, step] of of.entries()) if (step < STEPS) seen[shape * STEPS + step] += weight;
    });
  }
  return seen;
}

function searched(heads: readonly Head[], recall: number): string {
  const search = searchShapes(
    heads.map(({ estimate }) => estimate),
    recall,
  );
  let step = search.next();
  while (step.done !== true) {
    const tried = step.value;
    step = search.next(
      heads.map(({ rows }, index) => rows.reduce((sum, row) => sum + keptShare(tried, index, row), 0) / rows.length),
    );
  }
  return step.value.key;
}

describe("the cheapest shape, all sizes at once", () => {
  const prompts: [tokens: number, chunk: number][] = [
    [700, 188],
    [1000, 232],
    [640, 128],
    [300, 44],
    [70, 70],
    [5, 5],
  ];
  for (const [tokens, chunk] of prompts) {
    it(`is what trying one after the other finds: ${tokens} tokens, the last ${chunk} of them together`, () => {
      const kinds: [noise: number, loudness: Loudness][] = [
        [0.1, () => 0],
        [3, () => 0],
        [6, (distance) => (distance % 97 === 0 ? 4 : 0)],
        [1, (distance) => -distance / 100],
        [1, (distance, key) => (key === 140 ? 8 : distance < 20 ? 3 : -4)],
        [2, (distance, key) => (key % 90 === 7 || distance === 333 ? 6 : 0)],
      ];
      const heads = kinds.map((kind, index) => head(`${tokens} ${index}`, tokens, chunk, ...kind));
      const shapes = new Set<string>();
      for (const recall of [0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97, 0.999]) {
        const chosen = heads.map(({ rows, estimate: { mass, blocks } }) => {
          const steps = headSteps(mass, blocks);
          return cheapestShape(steps, seenBySteps(steps, rows), recall);
        });
        for (const { shape } of chosen) shapes.add(shape);
        assert.equal(headsPattern(chosen).key, searched(heads, recall), `recall ${recall}`);
      }
      if (tokens === 700) assert.deepEqual([...shapes].sort(), ["a-shape", "blocks", "dense", "vertical-slash"]);
    });
  }
});
