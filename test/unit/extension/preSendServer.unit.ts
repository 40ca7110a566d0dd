/** What the token server says before a question: secrets in what goes in, and a question that the workspace answers. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { answersOf } from "../../../extension/server/answers.ts";
import { exampleQuestion } from "../../../extension/server/example.ts";
import { secretsGoingIn } from "../../../extension/server/packSecrets.ts";
import { withCounts } from "../../support/wordCounts.ts";

/** Composed here, so that no scanner takes this file for a leak. */
const secret = ["ghp", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"].join("_");
const { signal } = new AbortController();
const ferry = "test/fixtures/workspaces/ferry";

describe("secrets in what goes in", () => {
  const tree = {
    "src/key.ts": `export function send(): void {\n  const token = "${secret}";\n}\n`,
    "src/plain.ts": "export const quay = 1;\n",
    ".env": "A=1\n",
  };
  const paths = Object.keys(tree);

  it("are named by file, line and rule, and never quoted", () =>
    withCounts(tree, async ({ counts }) => {
      const found = await secretsGoingIn(counts, paths, signal);
      assert.deepEqual(
        found.map(({ path, line, rule }) => `${path}:${line} ${rule}`),
        ["src/key.ts:2 github", ".env:0 file-name"],
      );
      assert.ok(!JSON.stringify(found).includes(secret.slice(4, 12)));
    }));

  it("are none where only a name goes in, where the outline leaves the line out, or of files that are not asked about", () =>
    withCounts(tree, async ({ counts }) => {
      assert.deepEqual(await secretsGoingIn(counts, ["src/plain.ts"], signal), []);
      await counts.changeLevels(() => {
        counts.selection.set({ ".env": "name", "src/key.ts": "outline" });
        return [".env", "src/key.ts"];
      });
      await counts.knowledge.outlines(
        [...paths].flatMap((path) => counts.table.file(path)?.entry ?? []),
        (entry, outline) => counts.table.put({ ...entry, outline }),
      );
      assert.deepEqual(await secretsGoingIn(counts, paths, signal), []);
    }));
});

describe("the example question", () => {
  it("asks where a name is defined that other files use, once in the workspace, and knows the line", () =>
    withCounts(textsOf(ferry), async ({ counts }) => {
      const example = await exampleQuestion(counts, signal);
      assert.ok(example);
      const { name, path, line, question } = example;
      const texts = Object.entries(textsOf(ferry));
      const text = texts.find(([one]) => one === path)?.[1].split("\n")[line - 1] ?? "";
      assert.match(text, new RegExp(`^export (const|function|async function|type) ${name}\\b`));
      assert.equal(question, `Where is \`${name}\` defined?`);
      assert.ok(
        texts.some(([other, words]) => other !== path && new RegExp(`\\b${name}\\b`).test(words)),
        "it is used",
      );
    }));

  it("is none where nothing is defined that another file uses, and takes nothing from files that are left out", () =>
    withCounts(
      { "a.ts": "export const harbour = 1;\n", "b.ts": "harbour();\n", "c.ts": "export const lonely = 2;\n" },
      async ({ counts }) => {
        assert.equal((await exampleQuestion(counts, signal))?.name, "harbour");
        await counts.changeLevels(() => {
          counts.selection.set({ "a.ts": "excluded" });
          return ["a.ts"];
        });
        assert.equal(await exampleQuestion(counts, signal), undefined);
      },
    ));
});

it("every answer of the token server can be asked for over its wire", () => {
  const wire = readFileSync("extension/server/main.ts", "utf8");
  const names = Object.keys(
    answersOf(
      () => assert.fail("nothing is asked"),
      (message) => assert.fail(message),
    ),
  );
  for (const name of names) assert.ok(wire.includes(`answer("${name}", answers["${name}"]);`), name);
});

/** Text files below a folder, by path. */
function textsOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => /\.(ts|py|md|json)$/.test(name));
  return Object.fromEntries(names.map((name) => [name.replaceAll("\\", "/"), readFileSync(join(folder, name), "utf8")]));
}
