/** What a sample expects of files that nobody has read, against what they have. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { countHandlers } from "../../../extension/server/countJobs.ts";
import { openInlinePool } from "../../../extension/server/countPool.ts";
import { scattered } from "../../../extension/server/countFiles.ts";
import { FileSample, TokenEstimator } from "../../../extension/server/estimate.ts";
import { seeded } from "../../support/random.ts";
import { withTempTree } from "../../support/tempTree.ts";

/** Counts blanks, so that the tokens of any text are known. */
const blanks = { countUtf8: (bytes: Uint8Array): number => bytes.filter((byte) => byte === 0x20).length };
const pool = openInlinePool(() => Promise.resolve(countHandlers(blanks, () => assert.fail("nobody asks for more than counts"))));

interface Written {
  path: string;
  absolute: string;
  sizeBytes: number;
  tokens: number;
}

/** Files of many sizes, each with words of its own usual length. */
async function writeFiles(folder: string, count: number): Promise<Written[]> {
  const random = seeded(5);
  const files: Written[] = [];
  for (let i = 0; i < count; i++) {
    const wordLength = 2 + random() * 8;
    let text = "";
    for (let words = 20 + random() ** 4 * 12_000; words > 0; words--)
      text += `${"w".repeat(1 + Math.floor(random() * wordLength))} `;
    const path = `file${i}.txt`;
    const absolute = join(folder, path);
    await writeFile(absolute, text);
    files.push({ path, absolute, sizeBytes: text.length, tokens: text.split(" ").length - 1 });
  }
  return files;
}

function totalError(files: readonly Written[], estimator: TokenEstimator): number {
  const expected = files.reduce((sum, { path, sizeBytes }) => sum + estimator.expect(path, sizeBytes), 0);
  return expected / files.reduce((sum, { tokens }) => sum + tokens, 0) - 1;
}

describe("the order of counting", () => {
  it("has every file once, and at any time some of every part of the list", () => {
    for (const length of [0, 1, 2, 3, 10, 618, 1000, 7862, 65_536]) {
      const order = scattered(Array.from({ length }, (_, i) => i));
      assert.deepEqual(
        [...order].sort((a, b) => a - b),
        Array.from({ length }, (_, i) => i),
      );
      for (const done of [1000, 5000].filter((count) => count < length)) {
        const places = order.slice(0, done).sort((a, b) => a - b);
        const widest = Math.max(...places.map((place, i) => (places[i + 1] ?? length) - place));
        assert.ok(widest < (80 * length) / done, `${length}: after ${done} files none of ${widest} in a row`);
      }
    }
  });
});

describe("a sample of files", () => {
  it("expects their sum within a few percent, however many were found when it first looked", () =>
    withTempTree({}, async (folder) => {
      const files = await writeFiles(folder, 400);
      for (const first of [0, 100, 399, 400]) {
        const sample = new FileSample(pool, new AbortController().signal);
        await sample.look(files.slice(0, first));
        await sample.look(files);
        const error = totalError(files, sample.estimator);
        assert.ok(Math.abs(error) < 0.03, `${first} first: ${(100 * error).toFixed(1)} %`);
      }
      assert.ok(Math.abs(totalError(files, new TokenEstimator())) > 0.03, "the table alone would do as well");
    }));

  it("looks at nothing where counting is as fast, and stops when it is told to", () =>
    withTempTree({}, async (folder) => {
      const files = await writeFiles(folder, 3);
      const idle = openInlinePool(() => Promise.reject(new Error("asked")));
      await new FileSample(idle, new AbortController().signal).look(files.map((file) => ({ ...file, sizeBytes: 1000 })));
      await assert.rejects(
        new FileSample(idle, new AbortController().signal).look(files.map((file) => ({ ...file, sizeBytes: 1e6 }))),
        /asked/,
      );
    }));

  it("knows kinds apart, and a kind without any text", () => {
    const estimator = new TokenEstimator();
    for (let i = 0; i < 400; i++) {
      estimator.learn("a.x", 500, 250, 1000);
      estimator.learn("a.y", 500, 50, 1000);
      estimator.learn("a.png", 0, 0, 1000);
    }
    assert.ok(Math.abs(estimator.expect("b.x", 10_000) - 5000) < 50);
    assert.ok(Math.abs(estimator.expect("b.y", 10_000) - 1000) < 50);
    assert.equal(estimator.expect("b.png", 10_000), 0);
    assert.ok(estimator.expect("b.unheard-of", 10_000) > 1000);
  });
});
