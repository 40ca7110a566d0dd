import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { parseRopeSearchState } from "../../../engine/eval/ropeSearch.ts";
import { parseCommand } from "../../../extension/cli/args.ts";
import { logits } from "../../../extension/cli/logits.ts";
import { ropeSearch } from "../../../extension/cli/ropeSearch.ts";
import { withTempTree } from "../../support/tempTree.ts";
import { tinyModelContents } from "../../support/tinyModel.ts";

const model = tinyModelContents({ maxPositions: 16 });
const tree = {
  ...Object.fromEntries(Object.entries(model).map(([name, content]) => [`model/${name}`, content])),
  "src/a.ts": "export const limit = 3;\nfunction go() {\n  return limit;\n}\n".repeat(4),
  "src/b.ts": "import { limit } from './a';\nexport const twice = 2 * limit;\n".repeat(4),
};
const budget = "--target-length 64 --documents 1 --population 6 --iterations 2 --backend reference".split(" ");

interface Written {
  out: string;
  err: string;
  error: unknown;
}

/** Runs a search in a folder as `lcp` does; stopped once `stopAfter` lists were judged. */
async function search(folder: string, args: string[], stopAfter = Infinity): Promise<Written> {
  const written: Written = { out: "", err: "", error: undefined };
  const stop = new AbortController();
  let lists = 0;
  const output = {
    out: (text: string) => void (written.out += text),
    err: (text: string) => {
      written.err += text;
      if (/generation/.test(text) && ++lists >= stopAfter) stop.abort();
    },
    terminal: true,
  };
  const command = parseCommand(["rope-search", join(folder, "src"), "--model", join(folder, "model"), ...budget, ...args]);
  assert.ok(command.name === "rope-search");
  try {
    await ropeSearch(command, resolve("."), output, stop.signal);
  } catch (error) {
    written.error = error;
  }
  return written;
}

describe("lcp rope-search", () => {
  it("writes a RoPE setting that --rope takes, and says what it is worth", () =>
    withTempTree(tree, async (folder) => {
      const file = join(folder, "rope.json");
      const { out, err, error } = await search(folder, ["--out", file, "--json"]);
      assert.equal(error, undefined);
      const found = JSON.parse(out) as Record<string, unknown>;
      const rope = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
      assert.deepEqual(found["rope"], rope);
      assert.equal(rope["rope_type"], "longrope");
      assert.deepEqual([found["judged"], found["planned"], found["finished"]], [10, 10, true]);
      assert.match(err, /perplexity at 64 tokens: [\d.]+ without scaling, [\d.]+ with YaRN, [\d.]+ with the best factors\n$/);

      const lastLogits = async (setting: string): Promise<string> => {
        const args = ["logits", "--ids", "5,6,7,8".concat(",9".repeat(20)), "--model", join(folder, "model"), "--json"];
        const command = parseCommand([...args, "--backend", "reference", "--rope", setting]);
        assert.ok(command.name === "logits");
        let text = "";
        const output = { out: (part: string) => void (text += part), err: () => undefined, terminal: false };
        await logits(command, resolve("."), output, new AbortController().signal);
        return text;
      };
      assert.equal(await lastLogits(file), await lastLogits(JSON.stringify(rope)));
      assert.notEqual(await lastLogits(file), await lastLogits("model"));
      await assert.rejects(lastLogits(join(folder, "none.json")), (thrown) => EngineError.is(thrown, "not-found"));
    }));

  it("prints the setting where no file is named", () =>
    withTempTree(tree, async (folder) => {
      const { out } = await search(folder, []);
      assert.equal((JSON.parse(out) as Record<string, unknown>)["rope_type"], "longrope");
    }));

  it("stopped keeps the search, and goes on from it to the same result", () =>
    withTempTree(tree, async (folder) => {
      const whole = await search(folder, ["--json"]);
      const state = join(folder, "search.json");
      const half = await search(folder, ["--json", "--resume", state], 3);
      assert.ok(EngineError.is(half.error, "aborted"));
      assert.match(half.err, /stopped after \d of 10 lists\n$/);
      const saved = parseRopeSearchState(JSON.parse(await readFile(state, "utf8")));
      assert.ok(saved.search.pending.length > 0);
      const rest = await search(folder, ["--json", "--resume", state]);
      assert.equal(rest.error, undefined);
      assert.equal(rest.out, whole.out);
    }));

  it("refuses a file that is no search, and one of another search", () =>
    withTempTree({ ...tree, "broken.json": "{", "other.json": "{}" }, async (folder) => {
      for (const name of ["broken.json", "other.json"]) {
        const { error } = await search(folder, ["--resume", join(folder, name)]);
        assert.ok(EngineError.is(error, "bad-argument"), String(error));
      }
      const state = join(folder, "search.json");
      await search(folder, ["--resume", state, "--iterations", "0"]);
      const { error } = await search(folder, ["--resume", state, "--seed", "4"]);
      assert.ok(EngineError.is(error, "bad-argument") && /seed 0, not 4/.test(error.message));
    }));
});
