/** What the token server lists at levels that are not the user's. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import type { LevelMap } from "../../../engine/pack/levels.ts";
import { answersOf } from "../../../extension/server/answers.ts";
import type { ListedFile } from "../../../extension/server/requests.ts";
import { withCounts } from "../../support/wordCounts.ts";

const tree = {
  "src/a.ts": "export function go(): number {\n  return 1;\n}\n",
  "src/b.ts": "export const b = 2;\n",
  "src/gen/c.ts": "export const c = 3;\n",
  "notes.md": "words and words\n",
};

function listed(
  use: (list: (levels?: LevelMap) => Promise<ListedFile[]>, answers: ReturnType<typeof answersOf>) => Promise<void>,
) {
  return withCounts(tree, async ({ counts }) => {
    const answers = answersOf(
      () => counts,
      (message) => assert.fail(message),
    );
    const { signal } = new AbortController();
    await use(async (levels) => {
      const { files } = await answers["longContext/listing"](levels === undefined ? {} : { levels }, signal);
      return files;
    }, answers);
  });
}

const paths = (files: readonly ListedFile[]): string[] => files.map(({ path, level }) => `${path} ${level}`);

describe("a listing", () => {
  it("at other levels is those files alone, with the lines of outlines that were never made", () =>
    listed(async (list) => {
      const files = await list({ "": "excluded", "src/": "outline", "src/gen/": "excluded" });
      assert.deepEqual(
        files.map(({ path }) => path),
        ["src/a.ts", "src/b.ts"],
      );
      const [a] = files;
      assert.equal(a?.level, "outline");
      assert.deepEqual(a.lines, [{ first: 1, last: 1 }]);
    }));

  it("at other levels leaves the user's as they are, and what he excluded can be asked about", () =>
    listed(async (list, answers) => {
      const { signal } = new AbortController();
      await answers["longContext/setLevels"]({ levels: { "src/a.ts": "excluded" } }, signal);
      const before = paths(await list());
      assert.deepEqual(before, ["notes.md full", "src/b.ts full", "src/gen/c.ts full"]);
      assert.deepEqual(paths(await list({ "": "excluded", "src/a.ts": "full" })), ["src/a.ts full"]);
      assert.deepEqual(paths(await list()), before);
      assert.deepEqual((await answers["longContext/levels"]({}, signal)).levels, { "src/a.ts": "excluded" });
      assert.equal((await answers["longContext/undo"]({}, signal)).undone, true, "only the user's own change was made");
      assert.equal((await answers["longContext/undo"]({}, signal)).undone, false);
    }));

  it("refuses levels that are none", () =>
    listed(async (list) => {
      const wrong = JSON.parse('{ "a.ts": "half" }') as LevelMap;
      await assert.rejects(list(wrong), (error) => EngineError.is(error, "bad-argument"));
    }));
});
