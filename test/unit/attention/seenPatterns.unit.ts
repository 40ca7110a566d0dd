/** What is remembered of the keys that chunks saw: it serves maps, and it is bounded. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Pattern } from "../../../engine/attention/api.ts";
import { openSeenPatterns } from "../../../engine/attention/sparse/seen.ts";

/** A pattern of one chunk that names one key for each head. */
function chosen(key: number): Pattern {
  return {
    ...{ key: `key ${key}`, perHead: true, near: (position: number) => position },
    columns: (head, tokens) => {
      const words = new Uint32Array(Math.ceil(tokens / 32));
      words[(key + head) >> 5] = 2 ** ((key + head) & 31);
      return words;
    },
  };
}

const shared: Pattern = { key: "window", perHead: false, near: (position) => Math.max(0, position - 3) };
const starts = (seen: readonly { start: number }[]): number[] => seen.map(({ start }) => start);

describe("what chunks saw", () => {
  it("has an entry for each chunk that chose by content, and one for a run of chunks that saw alike", () => {
    const seen = openSeenPatterns(2);
    seen.add(0, 0, 64, undefined);
    seen.add(0, 64, 128, undefined);
    seen.add(0, 128, 192, shared);
    seen.add(0, 192, 256, shared);
    seen.add(0, 256, 320, chosen(5));
    seen.add(0, 320, 384, chosen(9));
    assert.deepEqual(starts(seen.of(0)), [0, 128, 256, 320]);
    const last = seen.of(0).at(-1)?.pattern;
    assert.equal(last?.columns?.(1, 384)[0], 2 ** 10);
    assert.deepEqual(seen.of(1), []);
  });

  it("is written anew where a chunk is, and forgotten where the cache is cut", () => {
    const seen = openSeenPatterns(1);
    for (const start of [0, 64, 128]) seen.add(0, start, start + 64, chosen(start / 8));
    seen.add(0, 64, 128, shared);
    assert.deepEqual(starts(seen.of(0)), [0, 64]);
    seen.cut(64);
    assert.deepEqual(starts(seen.of(0)), [0]);
  });

  it("gives up the first layers where it would take too much memory, says so, and starts again with an empty cache", () => {
    // A chunk that ends at 4,096 keeps 512 bytes a head.
    const seen = openSeenPatterns(1, 1024);
    seen.add(0, 0, 4096, chosen(1));
    seen.add(1, 0, 4096, chosen(2));
    assert.deepEqual([...seen.forgotten], []);
    seen.add(2, 0, 4096, chosen(3));
    assert.deepEqual([...seen.forgotten], [0]);
    assert.deepEqual([seen.of(0), starts(seen.of(1)), starts(seen.of(2))], [[], [0], [0]]);
    seen.add(0, 4096, 8192, chosen(4));
    assert.deepEqual(seen.of(0), [], "a layer of which a part is unknown stays unknown");
    assert.match(seen.because, /more than 0\.0009765625 MiB/);
    seen.cut(0);
    seen.add(0, 0, 4096, chosen(1));
    assert.deepEqual(starts(seen.of(0)), [0]);
  });
});
