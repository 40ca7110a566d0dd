/** Questions made of files: exactly those with one answer, at its line. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { type Question, type QuestionContext, questionTypes } from "../../../engine/eval/answers/api.ts";
import { type ContextOptions, contextsOf } from "../../../engine/eval/answers/contexts.ts";
import { drawFor } from "../../../engine/eval/answers/draw.ts";
import { factsOf } from "../../../engine/eval/answers/facts.ts";
import { questionsOf } from "../../../engine/eval/answers/questions.ts";
import { outlinedFiles, roughTokens } from "../../support/outlinedFiles.ts";

/** Everything that can be asked about files, as "type name path:line". */
async function asked(texts: Record<string, string>): Promise<string[]> {
  const files = await outlinedFiles(texts);
  const given = files.map(({ path, lines, symbols }) => ({
    ...{ path, lines, planted: false },
    facts: factsOf({ path, lines, symbols }),
  }));
  const questions = questionsOf({
    ...{ files: given, planted: [], otherNames: ["elsewhereOnly"] },
    ...{ wanted: new Set(questionTypes), draw: drawFor(1) },
  });
  for (const { expected, type } of questions) {
    const line = given.find(({ path }) => path === expected?.path)?.lines[(expected?.line ?? 0) - 1];
    if (expected) assert.equal(expected.text, type === "file" ? expected.path : line?.trim());
  }
  return questions.map(shown);
}

function shown({ type, name, expected }: Question): string {
  return expected ? `${type} ${name} ${expected.path}:${expected.line}` : `${type} ${name}`;
}

async function askedAnswerable(texts: Record<string, string>): Promise<string[]> {
  return (await asked(texts)).filter((question) => !question.startsWith("absent-")).sort();
}

const typescript = `import { readFileSync, type Stats } from "node:fs";
import {
  statSync,
} from "node:fs";

/** Most rows of one page. */
export const PAGE_ROWS = 40;

/**
 * Counts the rows.
 */
export function countRows(text: string): number {
  return text.split("\\n").length;
}

// One line.
// And another one.
export class RowReader {
  read(path: string): number {
    const rows = countRows(readFileSync(path, "utf8"));
    return rows > PAGE_ROWS ? PAGE_ROWS : rows;
  }
}
`;

describe("questions about", () => {
  it("TypeScript: definitions, hard where they are used before, values, returns, calls, comments and imports of one line", async () => {
    assert.deepEqual(await askedAnswerable({ "src/rows.ts": typescript }), [
      "caller countRows src/rows.ts:20",
      "comment PAGE_ROWS src/rows.ts:6",
      "comment countRows src/rows.ts:10",
      "constant PAGE_ROWS src/rows.ts:7",
      "definition PAGE_ROWS src/rows.ts:7",
      "definition RowReader src/rows.ts:18",
      "definition countRows src/rows.ts:12",
      "definition read src/rows.ts:19",
      "file PAGE_ROWS src/rows.ts:7",
      "file RowReader src/rows.ts:18",
      "file countRows src/rows.ts:12",
      "file read src/rows.ts:19",
      "import Stats src/rows.ts:1",
      "import readFileSync src/rows.ts:1",
      "return countRows src/rows.ts:13",
      "return read src/rows.ts:21",
      "signature countRows src/rows.ts:12",
      "signature read src/rows.ts:19",
    ]);
  });

  it("JavaScript: nothing where a second line could be the answer", async () => {
    const text = `const { join } = require("node:path");
const limit = 3;
function grow(limit) {
  if (limit > 2) return limit;
  return grow(limit + 1);
}
function pick(items) {
  return items.find((item) => {
    return item.ok;
  });
}
function whole() {
  return {
    grown: true,
  };
}
other.whole(pick);
module.exports = { grow, pick, where: join("a", "b") };
`;
    assert.deepEqual(await askedAnswerable({ "lib/grow.js": text }), [
      "caller grow lib/grow.js:5",
      "definition grow lib/grow.js:3",
      "definition pick lib/grow.js:7",
      "definition whole lib/grow.js:12",
      "file grow lib/grow.js:3",
      "file pick lib/grow.js:7",
      "file whole lib/grow.js:12",
      "import join lib/grow.js:1",
      "import path lib/grow.js:1",
      "signature grow lib/grow.js:3",
      "signature pick lib/grow.js:7",
      "signature whole lib/grow.js:12",
    ]);
  });

  it("Python: docstrings of one line, and a definition that stands behind its use", async () => {
    const text = `import math

TIDE_HOURS = 12.42


def report(hour):
    print(tide_level(hour))


def tide_level(hour):
    """Water level at an hour."""
    phase = math.pi * hour / TIDE_HOURS
    return 185 * math.cos(phase)
`;
    assert.deepEqual(await askedAnswerable({ "tools/tides.py": text }), [
      "caller tide_level tools/tides.py:7",
      "comment tide_level tools/tides.py:11",
      "constant TIDE_HOURS tools/tides.py:3",
      "definition TIDE_HOURS tools/tides.py:3",
      "definition report tools/tides.py:6",
      "definition-hard tide_level tools/tides.py:10",
      "file TIDE_HOURS tools/tides.py:3",
      "file report tools/tides.py:6",
      "file tide_level tools/tides.py:10",
      "import math tools/tides.py:1",
      "return tide_level tools/tides.py:13",
      "signature report tools/tides.py:6",
      "signature tide_level tools/tides.py:10",
    ]);
  });

  it("Go: functions, values and imports in brackets", async () => {
    const text = `package pool

import (
	"net/http"
)

const maxIdle = 16

// NewPool opens a pool of connections.
func NewPool(size int) *Pool {
	return &Pool{size: size, client: http.DefaultClient}
}

type Pool struct {
	client *http.Client
}
`;
    const questions = await askedAnswerable({ "pool/pool.go": text });
    for (const wanted of [
      "comment NewPool pool/pool.go:9",
      "constant maxIdle pool/pool.go:7",
      "definition-hard NewPool pool/pool.go:10",
      "definition-hard Pool pool/pool.go:14",
      "import http pool/pool.go:4",
      "return NewPool pool/pool.go:11",
    ])
      assert.ok(questions.includes(wanted), `${wanted} of ${questions.join("; ")}`);
  });

  it("JSON, YAML, TOML and INI: keys with a plain value on one line, and none that stands twice", async () => {
    const questions = await askedAnswerable({
      "a.json": '{\n  "endpoint": "https://x.example",\n  "retries": 3,\n  "nested": {\n    "depth": 2\n  },\n  "shared": 1\n}\n',
      "b.yaml": "image: node:20\nshared: 2\nsteps:\n  - run: make all\nbudget: 40 # MiB\n",
      "c.toml": '[tool]\ncolour = "red"\n',
      "d.ini": "[server]\nworkers = 4\n",
    });
    assert.deepEqual(questions, [
      "key budget b.yaml:5",
      "key colour c.toml:2",
      "key depth a.json:5",
      "key endpoint a.json:2",
      "key image b.yaml:1",
      "key retries a.json:3",
      "key workers d.ini:2",
    ]);
  });

  it("names that several files define: nothing", async () => {
    const questions = await askedAnswerable({
      "a.ts": "export function openDoor(): number {\n  return 1;\n}\n",
      "b.ts": "export function openDoor(): number {\n  return 2;\n}\n",
    });
    assert.deepEqual(questions, []);
  });

  it("names that occur nowhere, and names that are called and not defined", async () => {
    const questions = await asked({ "a.ts": 'import { sendMail } from "mail";\nsendMail("hello");\nfetch("/x");\n' });
    const absent = questions.filter((question) => question.startsWith("absent-"));
    assert.ok(absent.includes("absent-unseen elsewhereOnly"));
    assert.deepEqual(absent.filter((question) => question.startsWith("absent-used")).sort(), [
      "absent-used fetch",
      "absent-used sendMail",
    ]);
  });
});

describe("contexts", () => {
  const texts = Object.fromEntries(
    ["engine/pack", "engine/generate", "engine/specimens", "test/fixtures/workspaces/ferry/src"].flatMap((folder) =>
      readdirSync(folder)
        .filter((name) => /\.(ts|py|md)$/.test(name))
        .map((name) => [`${folder}/${name}`, readFileSync(`${folder}/${name}`, "utf8")] as const),
    ),
  );
  const all = (options: ContextOptions): QuestionContext[] => [...contextsOf(options)];
  const made = async (seed: number, length: ContextOptions["length"] = 6000): Promise<QuestionContext[]> =>
    all({
      ...{ files: await outlinedFiles(texts), length, reserveTokens: 192, perType: 5, seed },
      countTokens: roughTokens,
    });

  it("hold every expected answer once, at its line, and no second line that defines the name", async () => {
    for (const seed of [0, 1, 2]) {
      const contexts = await made(seed);
      assert.ok(contexts.length > 2);
      for (const { files, questions, lengthTokens } of contexts) {
        const lines = files.flatMap((file) => file.lines);
        assert.ok(files.reduce((sum, file) => sum + roughTokens(file.lines.join("\n")), 0) <= lengthTokens);
        assert.equal(new Set(questions.map(({ type, name }) => `${type} ${name}`)).size, questions.length);
        for (const { type, name, text, expected } of questions) {
          assert.ok(text.includes(name));
          if (!expected) {
            assert.equal(type.startsWith("absent-"), true);
            if (type === "absent-unseen") assert.ok(!lines.some((line) => line.includes(name)), name);
            const defines = new RegExp(`\\b(?:function|class|const|let|interface|type|def)\\s+${name}\\b`);
            assert.ok(!lines.some((line) => defines.test(line)), name);
            continue;
          }
          const line = files.find(({ path }) => path === expected.path)?.lines[expected.line - 1]?.trim();
          assert.equal(type === "file" ? expected.path : line, expected.text);
          if (type !== "file") assert.equal(lines.filter((other) => other.trim() === expected.text).length, 1, expected.text);
          if (!/definition|file|signature|return|comment|caller/.test(type)) continue;
          const defines = new RegExp(
            `^\\s*(?:export\\s+)?(?:async\\s+)?(?:function|class|const|interface|type|def)\\s+${name}\\b`,
          );
          assert.ok(lines.filter((other) => defines.test(other)).length <= 1, `${type} ${name}`);
        }
      }
    }
  });

  it("ask no question twice at one length, and at most as many of a type as were wanted", async () => {
    const questions = (await made(0)).flatMap((context) => context.questions);
    assert.equal(new Set(questions.map(({ type, name }) => `${type} ${name}`)).size, questions.length);
    for (const { type } of questions) assert.ok(questions.filter((question) => question.type === type).length <= 5, type);
    for (const type of ["definition", "definition-hard", "return", "needle", "needle-multi", "absent-used"])
      assert.ok(questions.filter((question) => question.type === type).length >= 3, type);
  });

  it("are the same for the same seed, whatever the order of the files, and others for another", async () => {
    const files = await outlinedFiles(texts);
    const options = { length: 6000, reserveTokens: 192, perType: 5, seed: 0, countTokens: roughTokens };
    assert.deepEqual(all({ ...options, files: [...files].reverse() }), all({ ...options, files }));
    assert.notDeepEqual(all({ ...options, files, seed: 1 }), all({ ...options, files }));
  });

  it("are none where every file is longer than the length", async () => {
    assert.deepEqual(await made(0, 250), []);
  });

  it("hold all files where the whole folder is asked about, and questions about any of them", async () => {
    const contexts = await made(0, "whole");
    assert.ok(contexts.length > 1);
    for (const { files, lengthTokens } of contexts) {
      assert.equal(files.length, Object.keys(texts).length);
      assert.ok(lengthTokens > 6000);
    }
    const answers = new Set(contexts.flatMap(({ questions }) => questions.flatMap(({ expected }) => expected?.path ?? [])));
    const small = new Set((await made(0)).flatMap(({ files }) => files.map(({ path }) => path)));
    assert.ok(
      [...answers].some((path) => !small.has(path)),
      "also about files that are larger than the length",
    );
  });

  it("plant one needle or four, whose keys stand on no other line", async () => {
    for (const { files, questions } of await made(0)) {
      const planted = files.flatMap((file) =>
        file.lines.filter((line) => line.startsWith("One of the special magic numbers for")),
      );
      assert.ok([0, 1, 4].includes(planted.length));
      const multi = questions.some(({ type }) => type === "needle-multi");
      if (multi) assert.equal(planted.length, 4);
      assert.ok(planted.length === 0 || files.some((file) => file.planted));
    }
  });
});
