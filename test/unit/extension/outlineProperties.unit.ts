/** What holds for the outline of any file: tried on the sources of installed packages and on this project's own. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { keptLines, splitLines } from "../../../engine/pack/body.ts";
import type { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import {
  openOutlines,
  type Outlined,
  type OutlinedSymbol,
  type OutlineSource,
} from "../../../extension/server/outline/outline.ts";
import { readTokenizer } from "../../../extension/server/tokenizerFile.ts";
import { seeded } from "../../support/random.ts";

const WANTED = 300;
const never = (): boolean => false;

interface Sample {
  path: string;
  text: string;
}

describe("any outline", () => {
  let source: OutlineSource;
  let tokenizer: Tokenizer;
  let samples: Sample[];

  before(async () => {
    source = await openOutlines();
    tokenizer = await readTokenizer("o200k");
    samples = [...sourcesBelow("node_modules", WANTED), ...sourcesBelow("extension", 50), ...sourcesBelow("engine", 50)];
    assert.ok(samples.length >= WANTED, `only ${samples.length} files`);
  });

  it("keeps lines of the file, in order, with fewer tokens than the whole, and is the same again", () => {
    let outlines = 0;
    for (const { path, text } of samples) {
      const outlined = source.outline(path, text, never);
      assert.deepEqual(source.outline(path, text, never), outlined, path);
      if ("reason" in outlined) continue;
      outlines++;
      const lines = splitLines(text);
      checkRanges(outlined, lines.length, path);
      checkSymbols(outlined.symbols, { startLine: 1, endLine: lines.length }, path);
      const kept = keptLines(lines, outlined.lines).filter((line) => line !== undefined);
      assert.ok(tokensOf(kept) <= tokensOf(lines), path);
      assert.equal(new Set(outlined.definitions).size, outlined.definitions.length, path);
    }
    assert.ok(outlines > samples.length * 0.8, `only ${outlines} of ${samples.length} files have an outline`);
  });

  it("does not depend on line ends or a byte order mark", () => {
    for (const { path, text } of samples.filter((_, i) => i % 3 === 0)) {
      const plain = text.replace(/\r\n?/g, "\n");
      const expected = source.outline(path, plain, never);
      for (const variant of [plain.replaceAll("\n", "\r\n"), plain.replaceAll("\n", "\r"), mixed(plain), `\uFEFF${plain}`])
        assert.deepEqual(source.outline(path, variant, never), expected, path);
    }
  });

  it("stops when it is told to, at once or half way, and can be asked again", () => {
    const { path, text } = samples.reduce((largest, sample) => (sample.text.length > largest.text.length ? sample : largest));
    const expected = source.outline(path, text, never);
    let asked = 0;
    source.outline(path, text, () => ++asked < 0);
    assert.ok(asked > 20, `stop was polled ${asked} times for ${text.length} characters`);
    for (const after of [1, asked >> 1, asked - 1]) {
      let polls = 0;
      const stop = (): boolean => ++polls >= after;
      assert.throws(
        () => source.outline(path, text, stop),
        (error) => EngineError.is(error, "aborted"),
        `after ${after}`,
      );
      assert.equal(polls, after, "asked again after it said stop");
      assert.deepEqual(source.outline(path, text, never), expected);
    }
  });

  function tokensOf(lines: readonly string[]): number {
    return tokenizer.count(lines.map((line) => `${line}\n`).join(""));
  }
});

function checkRanges({ lines }: Outlined, lastLine: number, path: string): void {
  assert.ok(lines.length > 0, path);
  let before = -1;
  for (const { first, last } of lines) {
    assert.ok(first > before + 1, `${path}: line ${first} follows ${before} in another range`);
    assert.ok(first >= 1 && last >= first && last <= lastLine, `${path}: ${first} to ${last} of ${lastLine}`);
    before = last;
  }
}

/** Symbols lie in the file, and members in what holds them. */
function checkSymbols(symbols: readonly OutlinedSymbol[], outer: { startLine: number; endLine: number }, path: string): void {
  for (const symbol of symbols) {
    const where = `${path}: ${symbol.kind} ${symbol.name}`;
    assert.ok(symbol.name !== "" && symbol.kind !== "", where);
    assert.ok(symbol.startLine >= outer.startLine && symbol.startLine <= symbol.endLine, where);
    assert.ok(symbol.endLine <= outer.endLine, where);
    assert.ok(symbol.nameLine >= symbol.startLine && symbol.nameLine <= symbol.endLine, where);
    checkSymbols(symbol.children, symbol, path);
  }
}

/** Every line end another one, as in a file that several programs wrote. */
function mixed(text: string): string {
  const random = seeded(3);
  const ends = ["\n", "\r\n", "\r"];
  // A CR before an LF would make one line end of two.
  return text.replace(/\n+/g, (run) => (ends[Math.floor(random() * 3)] ?? "\n").repeat(run.length));
}

/** Files of up to 200 kB that have an outline, evenly from the whole tree. */
function sourcesBelow(folder: string, wanted: number): Sample[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(?:[cm]?[jt]s|[jt]sx|py|css|sh|java|c|h|php|rb)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const step = Math.max(1, Math.floor(files.length / wanted));
  return files
    .filter((file, i) => i % step === 0 && statSync(file).size <= 200_000)
    .map((path) => ({ path: path.replaceAll("\\", "/"), text: readFileSync(path, "utf8") }));
}
