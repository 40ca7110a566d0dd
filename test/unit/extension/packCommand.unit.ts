import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { parseCommand } from "../../../extension/cli/args.ts";
import { pack } from "../../../extension/cli/pack.ts";
import { withTempTree } from "../../support/tempTree.ts";

interface Packed {
  window: number;
  tokens: number;
  rows: { path: string; level: string; tokens: number; reason: string }[];
  excluded: { path: string; kind: string; reason: string }[];
  text: string;
}

async function packed(...args: string[]): Promise<Packed> {
  const command = parseCommand(["pack", ...args, "--json"]);
  assert.ok(command.name === "pack");
  let out = "";
  const output = { out: (text: string) => void (out += text), err: () => undefined, terminal: false };
  await pack(command, resolve("."), output, new AbortController().signal);
  return JSON.parse(out) as Packed;
}

/** Composed here, so that no scanner takes this file for a leak. */
const secret = ["ghp", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"].join("_");

const tree = {
  "src/big.ts": `export const big = 1;\n${"const filler = 12345;\n".repeat(400)}`,
  "src/small.ts": "export function small() {\n  return 7;\n}\n",
  "src/key.ts": `const token = "${secret}";\n`,
  ".env": "A=1\n",
};

describe("lcp pack", () => {
  it("stays in the window, says why for every file, and withholds secrets", () =>
    withTempTree(tree, async (folder) => {
      const result = await packed(folder, "--window", "300", "--reserve", "50", "--format", "plain");
      assert.ok(result.tokens <= 250);
      assert.equal(result.window, 300);
      assert.match(result.text, /export function small/);
      const big = result.rows.find(({ path }) => path === "src/big.ts");
      assert.ok(big && big.level !== "full" && /tokens/.test(big.reason));
      const withheld = result.excluded.filter(({ kind }) => kind === "secret");
      assert.deepEqual(
        withheld.map(({ path }) => path),
        [".env", "src/key.ts"],
      );
      assert.ok(!JSON.stringify(result).includes(secret));
      const allowed = await packed(folder, "--window", "20000", "--allow-secrets");
      assert.ok(allowed.text.includes(secret));
    }));

  it("obeys a context set, and the question changes what comes first", () =>
    withTempTree({ ...tree, "set.json": "" }, async (folder) => {
      const set = join(folder, "set.json");
      const levels = { "": "excluded", "src/small.ts": "full" };
      const { writeFile } = await import("node:fs/promises");
      await writeFile(set, JSON.stringify({ version: 1, name: "s", window: 900, levels }));
      const result = await packed(folder, "--set", set);
      assert.equal(result.window, 900);
      assert.deepEqual(
        result.rows.filter(({ level }) => level !== "excluded").map(({ path }) => path),
        ["src/small.ts"],
      );
      const asked = await packed(folder, "--window", "6000", "--question", "Where is `big` defined?");
      assert.match(asked.rows.find(({ path }) => path === "src/big.ts")?.reason ?? "", /it defines big/);
    }));

  it("adds what git says when asked to", () =>
    withTempTree(tree, async (folder) => {
      const git = (...args: string[]) =>
        execFileSync("git", ["-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", ...args]);
      git("init", "-q");
      git("add", "src/small.ts");
      git("commit", "-qm", "the small one");
      const result = await packed(folder, "--window", "20000", "--format", "plain", "--git");
      assert.match(result.text, /=== git:log ===\n[\s\S]*the small one/);
      const without = await packed(folder, "--window", "20000", "--format", "plain");
      assert.ok(!without.text.includes("the small one"));
    }));
});
