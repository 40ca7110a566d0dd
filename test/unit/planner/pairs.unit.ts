import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BLOCK_TOKENS, type AttentionPolicy, type Pattern } from "../../../engine/attention/api.ts";
import { hasBit } from "../../../engine/attention/patterns/bits.ts";
import { patternOf } from "../../../engine/attention/patterns/patternOf.ts";
import { parseAttention } from "../../../engine/attention/policy.ts";
import { isCounted, visibleKeys, visiblePairs, visitedBlocks } from "../../../engine/planner/pairs.ts";

const policy = (text: string): AttentionPolicy => parseAttention(text).policy;

/** Every policy whose keys follow from a formula, with numbers that fall inside and across blocks. */
const counted = [
  ...[
    "flash",
    "dense",
    "flash3",
    "ring:4",
    "stream",
    "window:1",
    "window:37",
    "window:200",
    "longformer:50,3",
    "longformer:64,130",
  ],
  ...["bigbird:1,0,0", "bigbird:3,3,1", "bigbird:2,2,2", "strided:1", "strided:5", "strided:64", "strided:150"],
  ...["fixed:8,3", "fixed:64,64", "fixed:100,1", "fixed:96,0", "a-shape:0,1", "a-shape:4,60", "a-shape:70,130", "sinks:4,60"],
];

/** The definition: keys j <= i in the layer's window that the pattern lets through. */
function keysByDefinition(pattern: Pattern | undefined, window: number, position: number, tokens: number): number[] {
  const columns = pattern?.columns?.(0, tokens);
  const diagonals = pattern?.diagonals?.(0, tokens);
  const blocks = pattern?.blocks?.(0, Math.floor(position / BLOCK_TOKENS)) ?? [];
  const keys: number[] = [];
  for (let key = Math.max(0, position - window + 1); key <= position; key++) {
    const isSeen =
      pattern === undefined ||
      key >= pattern.near(position) ||
      (columns !== undefined && hasBit(columns, key)) ||
      (diagonals !== undefined && hasBit(diagonals, position - key)) ||
      blocks.includes(Math.floor(key / BLOCK_TOKENS));
    if (isSeen) keys.push(key);
  }
  return keys;
}

/** StreamingLLM sees what an A-shape of its numbers does. */
const patternFor = (text: string): Pattern | undefined => patternOf(policy(text.replace("sinks:", "a-shape:")));

describe("pairs of queries and keys", () => {
  const tokens = 700;
  for (const text of counted) {
    it(`of ${text} are those of its pattern, in layers with and without a window`, () => {
      const pattern = patternFor(text);
      for (const window of [undefined, 1, 33, 250, 5000]) {
        const counts = Array.from(
          { length: tokens },
          (_, position) => keysByDefinition(pattern, window ?? Infinity, position, tokens).length,
        );
        const sum = (from: number, to: number): number => counts.slice(from, to).reduce((a, b) => a + b, 0);
        const found = (from: number, to: number): number => visiblePairs(policy(text), window, from, to);
        assert.equal(found(0, tokens), sum(0, tokens), `window ${window}`);
        assert.equal(found(130, 131), counts[130]);
        assert.equal(found(64, 640), sum(64, 640));
        assert.equal(visibleKeys(policy(text), window, tokens - 1), counts[tokens - 1]);
      }
      assert.ok(isCounted(policy(text)));
    });
  }

  it("that are chosen by content are bounded by what is chosen, and never more than all", () => {
    const all = visiblePairs({ kind: "flash" }, undefined, 0, 4096);
    for (const text of ["vertical-slash:100,200", "blocks:4", "minference:0.9"]) {
      assert.equal(isCounted(policy(text)), false);
      assert.ok(visiblePairs(policy(text), undefined, 0, 4096) <= all);
      assert.equal(visiblePairs(policy(text), 7, 0, 4096), visiblePairs({ kind: "window", window: 7 }, undefined, 0, 4096));
    }
    assert.equal(visibleKeys(policy("vertical-slash:100,200"), undefined, 4095), 300);
    assert.equal(visibleKeys(policy("blocks:4"), undefined, 4095), 256);
  });

  it("of a million tokens are those of the formula", () => {
    const million = 1_000_000;
    assert.equal(visiblePairs({ kind: "flash" }, undefined, 0, million), (million * (million + 1)) / 2);
    assert.equal(visiblePairs({ kind: "flash" }, 4096, 0, million), (4096 * 4097) / 2 + (million - 4096) * 4096);
  });
});

describe("blocks that are visited", () => {
  for (const text of counted) {
    it(`for ${text} are those that hold a key that is seen`, () => {
      const pattern = patternFor(text);
      const tokens = 960;
      for (const window of [undefined, 100]) {
        let visited = 0;
        let touched = 0;
        for (let block = 0; block < tokens / BLOCK_TOKENS; block++) {
          const seen = new Set<number>();
          for (let position = block * BLOCK_TOKENS; position < (block + 1) * BLOCK_TOKENS; position++) {
            for (const key of keysByDefinition(pattern, window ?? Infinity, position, tokens))
              seen.add(Math.floor(key / BLOCK_TOKENS));
          }
          const found = visitedBlocks(policy(text), window, block);
          assert.ok(found <= block + 1, `${found} blocks for block ${block}`);
          visited += found;
          touched += seen.size;
        }
        // Strides that cut across blocks are known on average only, and what a window cuts of random blocks and strides not at all.
        const [least, most] = window === undefined ? [0.95, 1.1] : [0.95, 1.5];
        const ratio = visited / touched;
        assert.ok(ratio >= least && ratio <= most, `window ${window}: ${visited} visited, ${touched} touched`);
      }
    });
  }
});
