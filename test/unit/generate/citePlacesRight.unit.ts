/** Whatever is packed and however it is quoted: a verified citation's lines hold the quote in the file as it is on disk. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SnapshotFile } from "../../../engine/api.ts";
import { attendedRuns } from "../../../engine/generate/attended.ts";
import { citeLines, type CiteOptions, citePlaces, citeText } from "../../../engine/generate/cite.ts";
import { QuoteIndex, type QuoteState } from "../../../engine/generate/quote.ts";
import { BodyCache } from "../../../engine/pack/body.ts";
import { packFiles } from "../../../engine/pack/pack.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { FakeRunner } from "../../support/fakeRunner.ts";
import { seeded } from "../../support/random.ts";
import { memoryWorkspace, tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);
const PACKS = 120;

type Random = () => number;

function oneOf<T>(random: Random, from: readonly T[]): T {
  const chosen = from[Math.floor(random() * from.length)];
  if (chosen === undefined) throw new RangeError("nothing to choose from");
  return chosen;
}

/** Lines of few kinds, so that many are equal, with blanks, tabs, emoji, combining marks, a byte order mark and one that is not UTF-8. */
const LINES = [
  ...[
    "",
    "",
    "   ",
    "\t",
    "}",
    "  }",
    "return limit;",
    "    return limit;",
    "const größe = 3;",
    "// 日本語の説明",
    'emoji = "👩‍👩‍👧";',
  ],
  ...[
    "e\u0301 = 1",
    "a\u2028b",
    "form\ffeed",
    "\u00a0padded\u00a0",
    "=== src/f0.ts ===",
    "`tick`",
    'say("hi there")',
    "x ".repeat(40),
  ],
];

interface Original {
  file: SnapshotFile;
  /** As an editor shows the file. */
  lines: readonly string[];
}

/** A workspace of a few files with every kind of line end, at every level. */
function randomWorkspace(random: Random) {
  const bytes: Record<string, Uint8Array> = {};
  const count = 1 + Math.floor(random() * 4);
  for (let i = 0; i < count; i++) {
    const end = oneOf(random, ["\n", "\r\n", "\r"]);
    const lines = Array.from({ length: Math.floor(random() * 12) }, () => oneOf(random, LINES));
    const text = (random() < 0.1 ? "\ufeff" : "") + lines.join(end) + (random() < 0.7 ? end : "");
    const utf8 = new TextEncoder().encode(text);
    bytes[`src/f${i}.ts`] = random() < 0.1 ? Uint8Array.of(0xff, ...utf8) : utf8;
  }
  const { files, readFile } = memoryWorkspace(bytes);
  const originals = files.map((file): Original => {
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes[file.path]);
    const lines = text.split(/\r\n|\r|\n/);
    const level = random();
    const ranges = Array.from({ length: 1 + Math.floor(random() * 3) }, () => {
      const first = 1 + Math.floor(random() * lines.length);
      return { first, last: first + Math.floor(random() * 4) };
    });
    const chosen: Partial<SnapshotFile> =
      level < 0.5 ? {} : level < 0.9 ? { level: "outline", lines: ranges } : { level: "name" };
    return { file: { ...file, ...chosen }, lines };
  });
  return { originals, readFile };
}

/** A quote by random allowed tokens. */
function randomQuote(index: QuoteIndex, random: Random): QuoteState {
  let state = random() < 0.5 ? index.start : index.further;
  while (state.end === undefined) state = index.advance(state, oneOf(random, index.continuations(state)));
  return state;
}

it(`all lines of all verified citations of ${PACKS} random packs hold their quotes`, async () => {
  const random = seeded(2026);
  let checked = 0;
  for (let round = 0; round < PACKS; round++) {
    const { originals, readFile } = randomWorkspace(random);
    const pack = await packFiles({
      ...{ files: originals.map(({ file }) => file), readFile, tokenizer, before: Int32Array.of(), windowTokens: 1_000_000 },
      ...{ reserveTokens: 0, questions: [], cache: new BodyCache() },
    });
    const runner = new FakeRunner({ vocabSize: 400, mass: (token) => ((token * 7919) % 13) / 1000 });
    const queries = { start: pack.ids.length - 1, end: pack.ids.length };
    const cite: CiteOptions = { pack, queries, pool: (request) => runner.pool(request) };
    const index = new QuoteIndex({ pack, tokenizer, vocabSize: tokenizer.vocabSize, absentTokenId: undefined });
    const shown: { path: string; startLine: number; endLine: number; quote: string }[] = [];
    for (let i = 0; i < 6; i++) shown.push(...(await citePlaces(index.occurrences(randomQuote(index, random)), cite)));
    const { lines } = oneOf(random, originals);
    const from = Math.floor(random() * lines.length);
    const some = lines.slice(from, from + 1 + Math.floor(random() * 3));
    const answers = [
      `See \`${lines[from] ?? ""}\` there.`,
      `It says "${lines[from] ?? ""}".`,
      `\`\`\`\n${some.join("\n")}\n\`\`\`\n`,
    ];
    for (const answer of answers) shown.push(...(await citeText(answer, cite)).filter(({ verified }) => verified));
    shown.push(...(await citeLines(some.join("\nA: "), cite)).filter(({ verified }) => verified));
    shown.push(...(await attendedRuns(cite)));
    for (const { path, startLine, endLine, quote } of shown) {
      const original = originals.find(({ file }) => file.path === path);
      assert.ok(
        original && startLine >= 1 && endLine >= startLine && endLine <= original.lines.length,
        `${path}:${startLine}-${endLine}`,
      );
      const there = original.lines.slice(startLine - 1, endLine).join("\n");
      assert.ok(
        there.includes(quote),
        `round ${round}: ${JSON.stringify(quote)} is not ${path}:${startLine}-${endLine} ${JSON.stringify(there)}`,
      );
      checked++;
    }
  }
  assert.ok(checked > 1000, `${checked} citations`);
});

describe("a link to lines", () => {
  it("of a file of which only the name is given is to its beginning", async () => {
    const { files, readFile } = memoryWorkspace({ "a.ts": "let a;\n" });
    const pack = await packFiles({
      ...{ files: files.map((file) => ({ ...file, level: "name" as const })), readFile, tokenizer, before: Int32Array.of() },
      ...{ windowTokens: 1000, reserveTokens: 0, questions: [], cache: new BodyCache() },
    });
    const [citation] = await citePlaces([{ path: "a.ts", line: 0 }], { pack, queries: { start: 0, end: 1 } });
    assert.deepEqual(citation, { path: "a.ts", startLine: 1, endLine: 1, quote: "", verified: true });
  });
});
