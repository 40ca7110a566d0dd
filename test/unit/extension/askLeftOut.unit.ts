/** `lcp ask` on more than the window takes: nothing is left out without being named. */
import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { it } from "node:test";
import { parseCommand } from "../../../extension/cli/args.ts";
import { ask } from "../../../extension/cli/ask.ts";
import { withTempTree } from "../../support/tempTree.ts";
import { tinyModelContents } from "../../support/tinyModel.ts";

const lines = (count: number, name: string): string =>
  Array.from({ length: count }, (_, line) => `export const ${name}${line} = ${line};\n`).join("");
const tree = {
  ...Object.fromEntries(Object.entries(tinyModelContents()).map(([name, content]) => [`model/${name}`, content])),
  "src/small.ts": lines(2, "limit"),
  "src/large.ts": lines(400, "berth"),
  "src/larger.ts": lines(500, "quay"),
};

async function told(folder: string, question: string): Promise<string> {
  let err = "";
  const output = { out: () => undefined, err: (text: string) => void (err += text), terminal: false };
  const model = ["--model", join(folder, "model"), "--backend", "reference", "--rope", "none"];
  const command = parseCommand(["ask", join(folder, "src"), question, ...model]);
  assert.ok(command.name === "ask");
  await ask(command, resolve("."), output, new AbortController().signal);
  return err;
}

it("lcp ask names the files that do not fit, the largest first, with why", () =>
  withTempTree(tree, async (folder) => {
    const err = await told(folder, "Where is limit1?");
    assert.match(err, /, 2 files do not fit\n {2}left out: larger\.ts: needs [\d,]+ tokens.*\n {2}left out: large\.ts: needs/);
  }));

it("lcp ask reads a part of a file that does not fit, and says which", () =>
  withTempTree(tree, async (folder) => {
    const err = await told(folder, "Where is berth300 defined?");
    assert.match(err, /, 1 file does not fit, 1 fits only in part\n/);
    assert.match(err, /\n {2}large\.ts: in part, \d+ of 400 lines: seems to define berth300, but all of it needs [\d,]+ tokens/);
  }));
