import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AttentionPolicy, Pattern } from "../../../engine/attention/api.ts";
import { bigBirdBlocks, randomBlocks } from "../../../engine/attention/patterns/bigbird.ts";
import { patternOf } from "../../../engine/attention/patterns/patternOf.ts";
import { aShape, fixedBlocks, longformer, strided, windowPattern } from "../../../engine/attention/patterns/runs.ts";
import { blocksRead, headsPattern, type HeadPattern } from "../../../engine/attention/patterns/sets.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { visible } from "../../../engine/reference/pattern.ts";
import { goldenFile } from "../../support/goldenModels.ts";

const N = 16;
const masks = goldenFile("masks.json") as {
  causal: string[];
  sliding_window_4_causal: string[];
  chunked_local_4_causal: string[];
  a_shape_sink2_local3: string[];
  tri_shape_sink2_local3_last4_dense: string[];
  dilated_window_8_gap_2: string[];
  longformer_w2_each_side_global_0_7_bidirectional: string[];
  bigbird_block2_window3_random1_global_first_last: { random_blocks: Record<string, number[]>; mask: string[] };
  vertical_slash_verticals_0_5_slashes_0_1_6: string[];
  strided_sparse_transformer_stride4: string[];
  fixed_sparse_transformer_stride4_c1: string[];
};

describe("patterns as recorded", () => {
  const { random_blocks: randomOf, mask: bigBirdMask } = masks.bigbird_block2_window3_random1_global_first_last;
  const bigBird = bigBirdBlocks({
    key: "recorded",
    // One block to either side; the one behind is the future.
    window: 2,
    globals: [0, 7],
    random: (block) => randomOf[block] ?? [],
    blockTokens: 2,
  });
  const globals = new Set([0, 7]);
  const recorded: [name: string, pattern: Pattern, mask: string[], blockTokens?: number][] = [
    ["everything", windowPattern(N), masks.causal],
    ["a window", windowPattern(4), masks.sliding_window_4_causal],
    ["chunks", fixedBlocks(4, 0), masks.chunked_local_4_causal],
    ["A-shape", aShape(2, 3), masks.a_shape_sink2_local3],
    ["tri-shape", aShape(2, 3, N - 4), masks.tri_shape_sink2_local3_last4_dense],
    ["a dilated window", headSets([], [0, 2, 4, 6]), masks.dilated_window_8_gap_2],
    ["Longformer", longformer("recorded", 3, (key) => globals.has(key)), masks.longformer_w2_each_side_global_0_7_bidirectional],
    ["BigBird", bigBird, bigBirdMask, 2],
    ["vertical-slash", headSets([0, 5], [0, 1, 6]), masks.vertical_slash_verticals_0_5_slashes_0_1_6],
    ["strided", strided(4), masks.strided_sparse_transformer_stride4],
    ["fixed", fixedBlocks(4, 1), masks.fixed_sparse_transformer_stride4_c1],
  ];
  for (const [name, pattern, mask, blockTokens] of recorded) {
    it(name, () => {
      const causal = mask.map((row, query) => row.slice(0, query + 1).padEnd(N, "0"));
      assert.deepEqual(maskOf(pattern, N, 0, blockTokens), causal);
    });
  }
});

describe("patterns of policies", () => {
  it("exist where every prompt has the same, and have a key of their own", () => {
    const fixed = ["window:5", "longformer:5,2", "bigbird:2,1,1", "strided:5", "fixed:5,2", "a-shape:2,5"];
    const keys = fixed.map((text) => patternFor(text).key);
    assert.equal(new Set(keys).size, fixed.length);
    for (const text of ["flash", "dense", "flash3", "sinks", "vertical-slash", "blocks", "minference", "ring", "stream"]) {
      assert.equal(patternOf(parseAttention(text).policy), undefined, text);
    }
  });

  const tokens = 64 * 9;
  const pairs: [AttentionPolicy["kind"], string, string][] = [
    ["window", "window:5", "window:6"],
    ["longformer", "longformer:5,2", "longformer:6,2"],
    ["longformer", "longformer:5,2", "longformer:5,3"],
    ["bigbird", "bigbird:1,1,1", "bigbird:2,1,1"],
    ["bigbird", "bigbird:1,1,1", "bigbird:1,2,1"],
    ["bigbird", "bigbird:1,1,1", "bigbird:1,1,2"],
    ["strided", "strided:5", "strided:6"],
    ["fixed", "fixed:5,2", "fixed:6,2"],
    ["fixed", "fixed:5,2", "fixed:5,1"],
    ["a-shape", "a-shape:2,5", "a-shape:3,5"],
    ["a-shape", "a-shape:2,5", "a-shape:2,6"],
  ];
  for (const [, one, other] of pairs) {
    it(`${one} and ${other} are different`, () => {
      assert.notEqual(patternFor(one).key, patternFor(other).key);
      assert.notDeepEqual(maskOf(patternFor(one), tokens), maskOf(patternFor(other), tokens));
    });
  }

  it("every query sees itself, and none the future", () => {
    for (const text of ["window:1", "longformer:1,0", "bigbird:1,0,0", "strided:1", "fixed:1,0", "fixed:3,3", "a-shape:0,1"]) {
      for (let query = 0; query < 130; query++) {
        assert.ok(visible(patternFor(text), 0, query, query), `${text} at ${query}`);
        assert.ok(!visible(patternFor(text), 0, query, query + 1), `${text} at ${query}`);
      }
    }
  });

  it("as wide as the prompt, they are everything; one wide, the query alone; and one token sees itself", () => {
    for (const text of [
      "window:16",
      "window:99",
      "longformer:16,0",
      "bigbird:9,0,0",
      "strided:1",
      "strided:16",
      "fixed:16,0",
      "a-shape:0,16",
    ]) {
      assert.deepEqual(maskOf(patternFor(text), N), masks.causal, text);
    }
    for (const text of ["window:1", "longformer:1,0", "a-shape:0,1", "fixed:1,0"]) {
      assert.deepEqual(maskOf(patternFor(text), 3), ["100", "010", "001"], text);
      assert.deepEqual(maskOf(patternFor(text), 1), ["1"], text);
    }
  });

  it("A-shape and Longformer of first keys are the same mask", () => {
    assert.deepEqual(maskOf(patternFor("a-shape:3,4"), 40), maskOf(patternFor("longformer:4,3"), 40));
  });
});

describe("bits of a pattern", () => {
  it("grow with the prompt, keep what they were, and stay one array until they must grow", () => {
    for (const text of ["strided:7", "fixed:11,3", "a-shape:40,5", "longformer:3,70"]) {
      const grown = patternFor(text);
      const seen = [33, 64, 1000, 1001].map((tokens) => maskRow(grown, tokens - 1));
      // A pattern that is asked for the longest first never grows.
      const fresh = patternFor(text);
      const again = [1001, 1000, 64, 33].map((tokens) => maskRow(fresh, tokens - 1)).reverse();
      assert.deepEqual(seen, again, text);
      for (const kind of ["columns", "diagonals"] as const) {
        const bits = grown[kind]?.(0, 900);
        assert.equal(grown[kind]?.(0, 1001), bits);
        if (bits !== undefined) assert.ok((grown[kind]?.(0, 50000).length ?? 0) * 32 >= 50000);
      }
    }
  });

  it("are right for a million tokens", () => {
    const tokens = 1_000_000;
    assert.equal(countBits(patternFor("strided:128").diagonals?.(0, tokens), tokens), Math.ceil(tokens / 128));
    assert.equal(countBits(patternFor("fixed:128,8").columns?.(0, tokens), tokens), 8 * Math.floor(tokens / 128));
    assert.equal(countBits(patternFor("a-shape:100,800").columns?.(0, tokens), tokens), 100);
  });
});

describe("random blocks", () => {
  it("are distinct, earlier than the window, not global, and no more than asked for", () => {
    const bigBird = patternFor("bigbird:3,4,2");
    for (let block = 0; block < 300; block++) {
      const list = bigBird.blocks?.(0, block) ?? [];
      assert.deepEqual(
        [...list],
        [...new Set(list)].sort((a, b) => a - b),
      );
      const random = list.filter((seen) => seen >= 2);
      assert.equal(random.length, Math.min(4, Math.max(0, block - 3 - 2 + 1)), `${block}`);
      assert.ok(random.every((seen) => seen <= block - 3));
      assert.deepEqual([...list], [...(patternFor("bigbird:3,4,2").blocks?.(0, block) ?? [])]);
    }
  });

  it("are spread over what lies before", () => {
    const counts = new Array<number>(10).fill(0);
    for (let block = 1000; block < 4000; block++) {
      for (const chosen of randomBlocks(block, 3, 0, 999)) counts[Math.floor(chosen / 100)]++;
    }
    // 9000 draws over ten tenths: 900 each, with a standard deviation of 28; five of them are 140.
    for (const count of counts) assert.ok(Math.abs(count - 900) < 140, counts.join());
  });
});

describe("patterns of heads", () => {
  const heads: HeadPattern[] = [
    { shape: "dense" },
    { shape: "a-shape", sinks: 2, window: 3 },
    { shape: "vertical-slash", columns: [4, 9], distances: [0, 1, 7] },
    { shape: "blocks", firstQueryBlock: 0, lists: [[0], [0, 1], [1, 2]] },
  ];
  const tokens = 150;

  it("show each head its own", () => {
    const together = headsPattern(heads);
    assert.ok(together.perHead);
    const alone = [windowPattern(tokens), aShape(2, 3), headSets([4, 9], [0, 1, 7])];
    for (const [head, pattern] of alone.entries()) assert.deepEqual(maskOf(together, tokens, head), maskOf(pattern, tokens));
    for (const [query, seen] of [
      [10, [0]],
      [70, [0, 1]],
      [149, [1, 2]],
    ] as const) {
      const row = Array.from({ length: query + 1 }, (_, key) => visible(together, 3, query, key));
      assert.deepEqual(
        row,
        row.map((_, key) => (seen as readonly number[]).includes(Math.floor(key / 64))),
      );
    }
  });

  it("begin the run before each query where all heads see it whole", () => {
    assert.equal(headsPattern(heads).near(100), 101);
    assert.equal(headsPattern(heads.slice(0, 3)).near(100), 99);
    assert.equal(headsPattern(heads.slice(0, 2)).near(100), 98);
    assert.equal(headsPattern(heads.slice(0, 1)).near(100), 0);
  });

  it("have keys that differ with any head, and are equal when all are", () => {
    const changed: HeadPattern[] = [
      { shape: "a-shape", sinks: 2, window: 4 },
      { shape: "a-shape", sinks: 3, window: 3 },
      { shape: "vertical-slash", columns: [4, 9, 10], distances: [0, 1, 7] },
      { shape: "vertical-slash", columns: [4], distances: [9, 0, 1, 7] },
      { shape: "blocks", firstQueryBlock: 0, lists: [[0], [0, 1], [0, 2]] },
      { shape: "dense" },
    ];
    const keys = changed.map((head) => headsPattern([head, ...heads.slice(1)]).key);
    assert.equal(new Set(keys).size, changed.length);
    assert.equal(headsPattern(heads).key, headsPattern([...heads]).key);
    assert.notEqual(headsPattern(heads).key, headsPattern([...heads].reverse()).key);
  });

  it("do not answer for a block of queries that nothing was chosen for", () => {
    assert.throws(() => headsPattern(heads).blocks?.(3, 3), RangeError);
  });

  it("cost the blocks that their queries touch", () => {
    const touched = (head: HeadPattern, queryBlock: number): number => {
      const pattern = headsPattern([head]);
      const blocks = new Set<number>();
      for (let query = queryBlock * 64; query < (queryBlock + 1) * 64; query++) {
        for (let key = 0; key <= query; key++) if (visible(pattern, 0, query, key)) blocks.add(Math.floor(key / 64));
      }
      return blocks.size;
    };
    const more: HeadPattern[] = [
      { shape: "a-shape", sinks: 64, window: 64 },
      { shape: "a-shape", sinks: 65, window: 200 },
      { shape: "a-shape", sinks: 1000, window: 1 },
      { shape: "vertical-slash", columns: [64, 100], distances: [0, 64, 100, 500] },
    ];
    for (const head of [...heads, ...more]) {
      for (const block of [0, 1, 2]) assert.equal(blocksRead(head, block), touched(head, block), `${head.shape} ${block}`);
    }
    for (const head of more) assert.equal(blocksRead(head, 6), touched(head, 6), head.shape);
  });
});

function patternFor(text: string): Pattern {
  const pattern = patternOf(parseAttention(text).policy);
  assert.ok(pattern, text);
  return pattern;
}

/** One head that sees given keys and distances. */
function headSets(columns: number[], distances: number[]): Pattern {
  return headsPattern([{ shape: "vertical-slash", columns, distances }]);
}

function maskOf(pattern: Pattern, tokens: number, head = 0, blockTokens?: number): string[] {
  return Array.from({ length: tokens }, (_, query) => maskRow(pattern, query, tokens, head, blockTokens));
}

function maskRow(pattern: Pattern, query: number, tokens = query + 1, head = 0, blockTokens?: number): string {
  return Array.from({ length: tokens }, (_, key) => (visible(pattern, head, query, key, blockTokens) ? "1" : "0")).join("");
}

function countBits(words: Uint32Array | undefined, tokens: number): number {
  let count = 0;
  for (let index = 0; index < tokens; index++) count += ((words?.[index >>> 5] ?? 0) >>> (index & 31)) & 1;
  return count;
}
