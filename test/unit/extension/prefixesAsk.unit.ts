/** `lcp ask --prefix-cache`: what a second process has of the first one's work. */
import assert from "node:assert/strict";
import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { parseCommand } from "../../../extension/cli/args.ts";
import { ask } from "../../../extension/cli/ask.ts";
import { withTempTree } from "../../support/tempTree.ts";
import { tinyModelContents } from "../../support/tinyModel.ts";

const lines = (file: number): string =>
  Array.from({ length: 4 }, (_, line) => `export const limit${file * 4 + line} = ${line * 3 + file};\n`).join("");
const tree = {
  ...Object.fromEntries(Object.entries(tinyModelContents()).map(([name, content]) => [`model/${name}`, content])),
  ...Object.fromEntries(["a", "b", "c", "d", "e", "f"].map((name, file) => [`src/${name}.ts`, lines(file)])),
};

interface Asked {
  err: string;
  result: { answer: string; promptTokens: number; reusedTokens: number; restoredTokens: number };
}

async function asked(folder: string, ...more: string[]): Promise<Asked> {
  const written = { out: "", err: "" };
  const output = {
    out: (text: string) => void (written.out += text),
    err: (text: string) => void (written.err += text),
    terminal: false,
  };
  const line = [
    "ask",
    join(folder, "src"),
    "Where is limit7?",
    "--model",
    join(folder, "model"),
    "--backend",
    "reference",
    "--json",
  ];
  const command = parseCommand([...line, ...more]);
  assert.ok(command.name === "ask");
  await ask(command, resolve("."), output, new AbortController().signal);
  return { err: written.err, result: JSON.parse(written.out) as Asked["result"] };
}

async function keptFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  return names.filter((name) => name.endsWith(".kv")).map((name) => join(folder, name));
}

describe("lcp ask --prefix-cache", () => {
  it("restores in a second process what the first one computed, and in a third what an edit left", () =>
    withTempTree(tree, async (folder) => {
      const kept = join(folder, "kept");
      const first = await asked(folder, "--prefix-cache", kept);
      assert.equal(first.result.restoredTokens, 0);
      assert.equal((await keptFiles(kept)).length, Math.floor(first.result.promptTokens / 256));
      const second = await asked(folder, "--prefix-cache", kept);
      assert.equal(second.result.restoredTokens, Math.floor((first.result.promptTokens - 1) / 256) * 256);
      assert.equal(second.result.reusedTokens, second.result.restoredTokens);
      assert.equal(second.result.answer, first.result.answer);
      const edited = join(folder, "src", "d.ts");
      await writeFile(edited, (await readFile(edited, "utf8")).replace("limit13", "limit99"));
      const third = await asked(folder, "--prefix-cache", kept);
      assert.equal(third.result.restoredTokens, 256);
      assert.equal(third.result.answer, (await asked(folder)).result.answer);
    }));

  it("stays within what it may take, and goes on without where the folder cannot be written", () =>
    withTempTree({ ...tree, taken: "a file" }, async (folder) => {
      const kept = join(folder, "kept");
      const { result } = await asked(folder, "--prefix-cache", kept, "--prefix-cache-max", "80KiB");
      assert.equal((await keptFiles(kept)).length, 1);
      const without = await asked(folder, "--prefix-cache", join(folder, "taken"));
      assert.equal(without.result.answer, result.answer);
      assert.match(without.err, /prefix cache: .*was not kept/);
    }));

  it("answers as ever beside a page that was cut off", () =>
    withTempTree(tree, async (folder) => {
      const kept = join(folder, "kept");
      const first = await asked(folder, "--prefix-cache", kept);
      for (const file of await keptFiles(kept)) await truncate(file, 1000);
      const second = await asked(folder, "--prefix-cache", kept);
      assert.equal(second.result.restoredTokens, 0);
      assert.equal(second.result.answer, first.result.answer);
      assert.ok((await asked(folder, "--prefix-cache", kept)).result.restoredTokens > 0, "and has it again");
    }));
});
