/** What the token server answers about levels, fits, exports, git and findings, on real folders. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { EngineError } from "../../../engine/errors.ts";
import type { Level } from "../../../engine/pack/levels.ts";
import { type Answers, answersOf } from "../../../extension/server/answers.ts";
import type { ServerCalls } from "../../../extension/server/requests.ts";
import { Selection } from "../../../extension/server/selection.ts";
import { readSelection } from "../../../extension/server/storedState.ts";
import type { WorkspaceCountsOptions } from "../../../extension/server/state.ts";
import { newCounts, plainSettings, withCounts, type WordBench } from "../../support/wordCounts.ts";

type Ask = <Name extends keyof ServerCalls>(
  name: Name,
  params: ServerCalls[Name]["params"],
  signal?: AbortSignal,
) => Promise<ServerCalls[Name]["result"]>;

/** Asks one server after the other as its wire does. */
function asking(answers: Answers): Ask {
  return async (name, params, signal = new AbortController().signal) => answers[name](params, signal);
}

function served(
  tree: Record<string, string>,
  use: (bench: WordBench & { ask: Ask }) => Promise<void>,
  changes: Partial<WorkspaceCountsOptions> = {},
): Promise<void> {
  return withCounts(
    tree,
    (bench) =>
      use({
        ...bench,
        ask: asking(
          answersOf(
            () => bench.counts,
            (message) => assert.fail(message),
          ),
        ),
      }),
    changes,
  );
}

const words = (count: number, word = "word"): string => `${Array.from({ length: count }, () => word).join(" ")}\n`;
/** Composed here, so that no scanner takes this file for a leak. */
const secret = ["ghp", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"].join("_");

const windowBefore = { window: 128_000, reserve: 8_000 };

/** Rows of a folder as "path level tokens". */
async function rows(ask: Ask, path = "", filter = ""): Promise<string[]> {
  const answer = await ask("longContext/children", { path, filter, sort: "path", limit: 100, leftOutLimit: 100 });
  return answer.rows.map((row) => `${row.path} ${row.level} ${row.tokens}`);
}

async function levelOf(ask: Ask, path: string): Promise<Level | "mixed" | undefined> {
  return (await ask("longContext/row", { path })).row?.level;
}

const fitTo = (window: number, question = "", reserve = 0) => ({ window, reserve, question, openPaths: [] });

describe("the window of the budget", () => {
  it("stands beside what the loaded model was trained for, where that is known", () =>
    served({ "a.txt": words(10) }, async ({ ask, counts }) => {
      assert.equal(counts.snapshot().modelWindow, undefined);
      await ask("longContext/configure", { ...plainSettings, modelWindow: 2048 });
      assert.deepEqual([counts.snapshot().window, counts.snapshot().modelWindow], [plainSettings.window, 2048]);
      await assert.rejects(async () => ask("longContext/configure", { ...plainSettings, modelWindow: -1 }), /modelWindow/);
    }));
});

describe("rows of the budget", () => {
  const tree = { "a.txt": words(10), "b/big.txt": words(50), "b/c/small.txt": words(5), ".gitignore": "no/\n", "no/x": "x" };

  it("add up to the meter, sorted as asked, as many as asked, with what is left out beside them", () =>
    served(tree, async ({ ask, counts }) => {
      const byTokens = await ask("longContext/children", { path: "", sort: "tokens", limit: 2, leftOutLimit: 9 });
      assert.deepEqual(
        byTokens.rows.map(({ path, tokens, fullTokens, files }) => ({ path, tokens, fullTokens, files })),
        [
          { path: "b/", tokens: 61, fullTokens: 55, files: 2 },
          { path: "a.txt", tokens: 13, fullTokens: 10, files: 1 },
        ],
      );
      assert.equal(byTokens.hidden, 1);
      assert.deepEqual(
        byTokens.leftOut.map(({ path, reason }) => ({ path, reason })),
        [{ path: "no/", reason: "ignored by .gitignore: no/" }],
      );
      const all = await ask("longContext/children", { path: "", sort: "path", limit: 99, leftOutLimit: 0 });
      assert.equal(
        all.rows.reduce((sum, { tokens }) => sum + tokens, 0),
        counts.snapshot().packTokens,
      );
      // Git's rows are left out too, with their reason, because this workspace is not trusted.
      assert.deepEqual([all.leftOut.length, all.leftOutHidden], [0, 2]);
      assert.match(all.leftOutReasons, /ignored by \.gitignore: no\//);
    }));

  it("are found by part of a path or by a glob, also those that are left out", () =>
    served(tree, async ({ ask }) => {
      assert.deepEqual(await rows(ask, "", "SMALL"), ["b/c/small.txt full 8"]);
      assert.deepEqual(await rows(ask, "", "b/**/*.txt"), ["b/big.txt full 53", "b/c/small.txt full 8"]);
      assert.deepEqual(await rows(ask, "", "no/"), ["no/ excluded 0"]);
    }));
});

describe("levels", () => {
  const tree = { "src/a.txt": words(10), "src/b.txt": words(20), "c.txt": words(30) };

  it("change what the pack costs, nest, and are taken back one by one", () =>
    served(tree, async ({ ask, counts }) => {
      const all = counts.snapshot().packTokens;
      await ask("longContext/setLevels", { levels: { "src/": "excluded" } });
      assert.equal(counts.snapshot().packTokens, all - 36);
      assert.equal(counts.snapshot().tokens, 60, "the workspace is as large as it was");
      await ask("longContext/setLevels", { levels: { "src/a.txt": "name" } });
      assert.equal(counts.snapshot().packTokens, all - 33);
      assert.deepEqual(await rows(ask, "src/"), ["src/a.txt name 3", "src/b.txt excluded 0"]);
      const { sentences } = await ask("longContext/why", { path: "src/a.txt" });
      assert.match(
        sentences.join("\n"),
        /You decided it: name only is chosen for this file\.\nOverruled by the deeper choice: left out is chosen for src\//,
      );
      assert.equal((await ask("longContext/undo", {})).undone, true);
      assert.equal(await levelOf(ask, "src/a.txt"), "excluded");
      assert.equal((await ask("longContext/undo", {})).undone, true);
      assert.equal(counts.snapshot().packTokens, all);
      assert.equal((await ask("longContext/undo", {})).undone, false);
    }));

  it("are on disk by the time that they are answered, so that a server that dies then has lost nothing", () =>
    served(tree, async ({ ask, counts, folder }) => {
      const storage = join(folder, "store");
      await counts.recount({ settings: { ...plainSettings, storageFolder: storage } });
      const kept = async (): Promise<Record<string, Level>> => {
        const selection = new Selection();
        selection.restore(await readSelection(storage, (message) => assert.fail(message)));
        return selection.levels();
      };
      await ask("longContext/setLevels", { levels: { "src/": "excluded" } });
      assert.deepEqual(await kept(), { "src/": "excluded" });
      await ask("longContext/checkRows", { takenIn: [], leftOut: ["c.txt"] });
      assert.deepEqual(await kept(), { "c.txt": "excluded", "src/": "excluded" });
      await ask("longContext/undo", {});
      assert.deepEqual(await kept(), { "src/": "excluded" });
      await ask("longContext/resetLevels", { paths: ["src/"] });
      assert.deepEqual(await kept(), {});
      await ask("longContext/replaceLevels", { levels: { "src/a.txt": "name" } });
      assert.deepEqual(await kept(), { "src/a.txt": "name" });
    }));

  it("by check boxes are taken back by them, so that nothing stays chosen that a fit would have to keep", () =>
    served({ ...tree, "gen/made.ts": "// @generated\nexport const a = 1;\n" }, async ({ ask, counts }) => {
      const levels = async () => (await ask("longContext/levels", {})).levels;
      await ask("longContext/checkRows", { takenIn: [], leftOut: ["src/", "c.txt"] });
      assert.deepEqual(await levels(), { "c.txt": "excluded", "src/": "excluded" });
      // Inside a folder that stays out it has to be chosen.
      await ask("longContext/checkRows", { takenIn: ["src/a.txt", "c.txt"], leftOut: [] });
      assert.deepEqual(await levels(), { "src/": "excluded", "src/a.txt": "full" });
      await ask("longContext/checkRows", { takenIn: ["src/"], leftOut: [] });
      assert.deepEqual(await levels(), {});
      // What is out by itself comes in whole.
      assert.equal(await levelOf(ask, "gen/"), "excluded");
      await ask("longContext/checkRows", { takenIn: ["gen/"], leftOut: ["c.txt"] });
      assert.equal(await levelOf(ask, "gen/made.ts"), "full");
      await ask("longContext/undo", {});
      assert.deepEqual(await levels(), {}, "both boxes were one change");
      assert.equal(counts.snapshot().packTokens, counts.table.root.sums.packTokens);
    }));

  it("a folder's replaces what was chosen inside it, and a reset forgets both", () =>
    served(tree, async ({ ask }) => {
      await ask("longContext/setLevels", { levels: { "src/a.txt": "name", "c.txt": "name" } });
      await ask("longContext/setLevels", { levels: { "src/": "excluded" } });
      assert.deepEqual((await ask("longContext/levels", {})).levels, { "c.txt": "name", "src/": "excluded" });
      assert.equal((await ask("longContext/resetLevels", { paths: ["src/"] })).forgotten, 1);
      assert.deepEqual((await ask("longContext/levels", {})).levels, { "c.txt": "name" });
      assert.equal((await ask("longContext/resetLevels", { paths: [""] })).forgotten, 1);
      assert.equal((await ask("longContext/resetLevels", { paths: [""] })).forgotten, 0);
    }));

  it("wrong ones from the wire are refused", () =>
    served(tree, async ({ ask }) => {
      const levels = JSON.parse('{ "c.txt": "half" }') as Record<string, Level>;
      await assert.rejects(ask("longContext/setLevels", { levels }), (error) => EngineError.is(error, "bad-argument"));
    }));

  it("and what a fit chose are there again in the next session, each as what it was", () =>
    served({ ...tree, "store/.keep": "" }, async ({ ask, counts, folder }) => {
      const settings = { ...plainSettings, storageFolder: join(folder, "store") };
      await counts.recount({ settings });
      await ask("longContext/setLevels", { levels: { "c.txt": "name" } });
      const fit = await ask("longContext/fit", fitTo(40));
      await ask("longContext/applyFit", { revision: fit.revision, windowBefore });
      const before = (await ask("longContext/levels", {})).levels;
      await counts.dispose();
      const next = newCounts(folder, { settings });
      await next.recount();
      assert.deepEqual(next.selection.levels(), before);
      assert.equal(next.selection.find("c.txt")?.fitted, false);
      const others = Object.keys(before).filter((key) => key !== "c.txt");
      assert.ok(others.length > 0 && others.every((key) => next.selection.find(key)?.fitted));
      await next.dispose();
    }));
});

describe("outlines", () => {
  const code = "/** Says it. */\nexport function greet(name: string): string {\n  const all = 1;\n  return `hello ${name}`;\n}\n";

  it("cost what their lines cost, are listed with their lines, and go with the text", () =>
    served({ "a.ts": code, "b.txt": words(9) }, async ({ ask, counts, folder }) => {
      await ask("longContext/setLevels", { levels: { "": "outline" } });
      const { files } = await ask("longContext/listing", {});
      const outlined = files.find(({ path }) => path === "a.ts");
      assert.equal(outlined?.level, "outline");
      const kept = code.split("\n").filter((_, i) => outlined.lines?.some(({ first, last }) => i + 1 >= first && i + 1 <= last));
      assert.ok(kept.some((line) => line.includes("function greet")) && !kept.some((line) => line.includes("const all")));
      const { row } = await ask("longContext/row", { path: "a.ts" });
      assert.equal(row?.tokens, 3 + kept.join(" ").split(/\s+/).filter(Boolean).length);
      assert.equal(row.approximate, false);
      assert.equal(counts.snapshot().approximate, false);
      assert.equal(await levelOf(ask, "b.txt"), "full", "there is no outline of plain text");
      assert.match((await ask("longContext/why", { path: "b.txt" })).sentences[0] ?? "", /no outline for this kind of file/);
      await writeFile(join(folder, "a.ts"), `${code}export const more = 1;\n`);
      await counts.update([join(folder, "a.ts")]);
      await counts.settled();
      assert.ok(((await ask("longContext/row", { path: "a.ts" })).row?.tokens ?? 0) > row.tokens);
    }));

  it("are known without reading a file in the next session, as are scans", () =>
    served({ "a.ts": code, "key.ts": `const token = "${secret}";\n`, "store/.keep": "" }, async ({ ask, counts, folder }) => {
      const settings = { ...plainSettings, storageFolder: join(folder, "store") };
      // Old enough that a change would show.
      execFileSync("touch", ["-d", "2020-01-01", join(folder, "a.ts"), join(folder, "key.ts")]);
      await counts.recount({ settings });
      await ask("longContext/setLevels", { levels: { "a.ts": "outline" } });
      await ask("longContext/export", { format: "plain", allowSecretsIn: [] });
      const { lines } = (await ask("longContext/listing", {})).files.find(({ path }) => path === "a.ts") ?? {};
      await counts.dispose();
      const next = newCounts(folder, { settings });
      await next.recount();
      const known = next.table.file("a.ts")?.entry;
      assert.ok(known?.outline && "lines" in known.outline);
      assert.deepEqual([...known.outline.lines], lines);
      assert.equal(next.knowledge.scan(next.table.file("key.ts")?.entry.hash ?? "")?.secrets.length, 1);
      await next.dispose();
    }));

  it("tell the tokens of every symbol, as it stands in the editor", () =>
    served({ "a.ts": code }, async ({ ask, counts, folder }) => {
      const { symbols } = await ask("longContext/symbols", { path: "a.ts" });
      assert.deepEqual(
        symbols.map(({ name, kind, depth, nameLine, startLine, endLine }) => ({
          name,
          kind,
          depth,
          nameLine,
          startLine,
          endLine,
        })),
        [{ name: "greet", kind: "function", depth: 0, nameLine: 2, startLine: 1, endLine: 5 }],
      );
      const uri = pathToFileURL(join(folder, "a.ts")).href;
      await counts.editors.open(uri, code);
      await counts.editors.change(uri, `${code}export class Pier {}\n`);
      assert.deepEqual(
        (await ask("longContext/symbols", { path: "a.ts" })).symbols.map(({ name }) => name),
        ["greet", "Pier"],
      );
    }));
});

describe("a fit", () => {
  const tree = {
    "src/core.ts": `export function openStore() {\n${"  step();\n".repeat(40)}}\n`,
    "src/user.ts": `import { openStore } from "./core";\n${"openStore();\n".repeat(20)}`,
    "src/lonely.ts": `export const lonely = 1;\n${"// filler\n".repeat(40)}`,
    "docs/long.md": words(200),
  };

  it("changes nothing before it is applied, then fits, says why, and is taken back as one step", () =>
    served(tree, async ({ ask, counts }) => {
      const before = counts.snapshot().packTokens;
      const fit = await ask("longContext/fit", fitTo(150, "", 30));
      assert.equal(fit.budgetTokens, 120);
      assert.equal(counts.snapshot().packTokens, before);
      assert.deepEqual(fit.kept + fit.outlined + fit.named + fit.dropped, 4);
      assert.ok(fit.rows.every(({ reason }) => reason !== ""));
      await ask("longContext/applyFit", { revision: fit.revision, windowBefore });
      assert.equal(counts.snapshot().packTokens, fit.tokens);
      assert.ok(fit.tokens <= 120);
      for (const { path, to } of fit.rows) assert.equal(await levelOf(ask, path), to, path);
      const { row } = await ask("longContext/row", { path: "docs/long.md" });
      assert.match(row?.reason ?? "", /(name only|dropped): .*203 tokens, rank 4 of 4/);
      await ask("longContext/undo", {});
      assert.equal(counts.snapshot().packTokens, before);
    }));

  it("is taken back with its window, unless another was chosen since", () =>
    served(tree, async ({ ask, counts }) => {
      for (const [window, expected] of [
        [150, windowBefore],
        [151, undefined],
      ] as const) {
        const fit = await ask("longContext/fit", fitTo(150, "", 30));
        await ask("longContext/applyFit", { revision: fit.revision, windowBefore });
        // As the extension does: the window of the fit goes into the settings.
        await counts.recount({ settings: { ...plainSettings, window, reserve: 30 } });
        assert.deepEqual((await ask("longContext/undo", {})).windowBefore, expected);
      }
      await ask("longContext/setLevels", { levels: { "docs/": "name" } });
      assert.equal((await ask("longContext/undo", {})).windowBefore, undefined);
    }));

  it("prefers what the question names, what is open, and what the user chose, which it keeps", () =>
    served(tree, async ({ ask }) => {
      const of = async (params: ServerCalls["longContext/fit"]["params"], path: string) =>
        (await ask("longContext/fit", params)).rows.find((row) => row.path === path);
      assert.notEqual((await of(fitTo(130), "src/lonely.ts"))?.to, "full");
      assert.equal((await of(fitTo(130, "What is `lonely`?"), "src/lonely.ts"))?.to, "full");
      assert.equal((await of({ ...fitTo(130), openPaths: ["src/lonely.ts"] }, "src/lonely.ts"))?.to, "full");
      await ask("longContext/setLevels", { levels: { "src/lonely.ts": "full", "src/core.ts": "excluded" } });
      const fit = await ask("longContext/fit", fitTo(130));
      assert.equal(fit.rows.find(({ path }) => path === "src/lonely.ts")?.to, "full");
      assert.equal(fit.rows.find(({ path }) => path === "src/core.ts")?.to, "excluded");
      await ask("longContext/applyFit", { revision: fit.revision, windowBefore });
      // A second, larger fit decides anew what the first one decided, and keeps the user's choices.
      const again = await ask("longContext/fit", fitTo(10_000));
      await ask("longContext/applyFit", { revision: again.revision, windowBefore });
      assert.deepEqual((await ask("longContext/levels", {})).levels, { "src/core.ts": "excluded", "src/lonely.ts": "full" });
    }));

  it("never exceeds the window, for any window", () =>
    served(tree, async ({ ask, counts }) => {
      for (let window = 1; window < 700; window += 23) {
        const fit = await ask("longContext/fit", fitTo(window));
        await ask("longContext/applyFit", { revision: fit.revision, windowBefore });
        assert.ok(counts.snapshot().packTokens <= window, `${counts.snapshot().packTokens} of ${window}`);
      }
    }));

  it("of files that changed since is refused, and so is one whose pins do not fit", () =>
    served(tree, async ({ ask, counts, folder }) => {
      const stale = await ask("longContext/fit", fitTo(150));
      await writeFile(join(folder, "src/user.ts"), "short\n");
      await counts.update([join(folder, "src/user.ts")]);
      await assert.rejects(ask("longContext/applyFit", { revision: stale.revision, windowBefore }), (error) =>
        EngineError.is(error, "bad-argument"),
      );
      await ask("longContext/setLevels", { levels: { "docs/": "full" } });
      await assert.rejects(ask("longContext/fit", fitTo(100)), (error) => EngineError.is(error, "context-too-long"));
      await assert.rejects(ask("longContext/fit", fitTo(100, "", 100)), (error) => EngineError.is(error, "bad-argument"));
      await assert.rejects(ask("longContext/fit", fitTo(100), AbortSignal.abort()), (error) => EngineError.is(error, "aborted"));
    }));
});

describe("an export", () => {
  const tree = {
    "src/a.ts": "export const harbour = 1;\n",
    "src/key.ts": `const token = "${secret}";\n`,
    ".env": "A=1\n",
    "b.txt": words(3),
  };

  it("withholds files with secrets, says which and why, and includes those that are allowed", () =>
    served(tree, async ({ ask }) => {
      await ask("longContext/setLevels", { levels: { "b.txt": "excluded" } });
      const pack = await ask("longContext/export", { format: "xml", allowSecretsIn: [] });
      assert.deepEqual(
        pack.withheld.map(({ path }) => path),
        [".env", "src/key.ts"],
      );
      assert.match(pack.withheld[1]?.reason ?? "", /line 1: looks like a GitHub token/);
      const text = pack.text ?? "";
      assert.ok(text.includes("harbour") && !text.includes(secret) && !text.includes("A=1"));
      assert.ok(!text.includes("b.txt"), "left out by its level");
      assert.equal(pack.files, 1);
      assert.equal(pack.tokens, text.split(/\s+/).filter(Boolean).length);
      const allowed = await ask("longContext/export", { format: "json", allowSecretsIn: ["src/key.ts"] });
      assert.ok(allowed.text?.includes(secret));
    }));

  it("goes to a file whole or not at all", () =>
    served(tree, async ({ ask, folder }) => {
      const file = join(folder, "pack.md");
      const pack = await ask("longContext/export", { format: "markdown", allowSecretsIn: [], file });
      assert.equal(pack.text, undefined);
      assert.match(await readFile(file, "utf8"), /```ts\nexport const harbour = 1;\n```/);
      const nowhere = join(folder, "no", "such", "pack.md");
      await assert.rejects(ask("longContext/export", { format: "markdown", allowSecretsIn: [], file: nowhere }), (error) =>
        EngineError.is(error, "not-found"),
      );
    }));

  it("has what unsaved editors hold, and refuses a file that changed under it", () =>
    served(tree, async ({ ask, counts, folder }) => {
      const uri = pathToFileURL(join(folder, "src/a.ts")).href;
      await counts.editors.open(uri, tree["src/a.ts"]);
      await counts.editors.change(uri, "export const quay = 2;\n");
      assert.ok((await ask("longContext/export", { format: "plain", allowSecretsIn: [] })).text?.includes("quay"));
      await rm(join(folder, "b.txt"));
      await assert.rejects(ask("longContext/export", { format: "plain", allowSecretsIn: [] }), (error) =>
        EngineError.is(error, "not-found"),
      );
    }));
});

describe("git's rows", () => {
  const git = (folder: string, ...args: string[]) =>
    execFileSync("git", ["-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", ...args], { stdio: "pipe" });

  it("are there once somebody looks, left out until they are chosen, and follow what changes", () =>
    served({ "a.txt": words(3) }, async ({ ask, counts, folder }) => {
      await counts.recount({ settings: { ...plainSettings, git: true } });
      assert.deepEqual(await rows(ask), ["a.txt full 6"]);
      await counts.git.settled();
      const untracked = await ask("longContext/children", { path: "", sort: "path", limit: 9, leftOutLimit: 9 });
      assert.deepEqual(
        untracked.leftOut.map(({ path, reason }) => `${path} ${reason}`),
        ["git: not a git repository"],
      );
      git(folder, "init", "-q");
      git(folder, "add", ".");
      git(folder, "commit", "-qm", "the first tide");
      await writeFile(join(folder, "a.txt"), "changed\n");
      await counts.git.refresh();
      const { rows: shown, leftOut } = await ask("longContext/children", { path: "", sort: "path", limit: 9, leftOutLimit: 9 });
      const names = shown.filter(({ kind }) => kind === "git").map(({ name, level }) => `${name} ${level}`);
      assert.deepEqual(names, ["Working tree changes excluded", "Recent commits excluded"]);
      assert.ok(leftOut.some(({ path, reason }) => path === "git:staged" && reason === "nothing is staged"));
      const before = counts.snapshot().packTokens;
      await ask("longContext/setLevels", { levels: { "git:log": "full" } });
      const { row } = await ask("longContext/row", { path: "git:log" });
      assert.equal(counts.snapshot().packTokens, before + (row?.tokens ?? 0));
      const { text } = await ask("longContext/export", { format: "plain", allowSecretsIn: [] });
      assert.match(text ?? "", /=== git:log ===\n[\s\S]*the first tide/);
      const { files } = await ask("longContext/listing", {});
      const log = files.find(({ path }) => path === "git:log");
      assert.match((await ask("longContext/gitText", { path: "git:log", hash: log?.hash })).text ?? "", /the first tide/);
      assert.equal((await ask("longContext/gitText", { path: "git:log", hash: "0" })).text, undefined);
    }));

  it("are not asked for in a workspace that is not trusted", () =>
    served({ "a.txt": "x\n", "git-was-run": "" }, async ({ ask, counts, folder }) => {
      git(folder, "init", "-q");
      git(folder, "config", "core.fsmonitor", "false");
      await rows(ask);
      await counts.git.settled();
      const { leftOut } = await ask("longContext/children", { path: "", sort: "path", limit: 9, leftOutLimit: 9 });
      assert.deepEqual(
        leftOut.filter(({ path }) => path.startsWith("git:")).map(({ reason }) => reason),
        ["git is not run in a workspace that is not trusted"],
      );
    }));
});

describe("findings", () => {
  it("come once the files were scanned, with fixes that change levels", () =>
    served(
      { "a.txt": words(400), "copy.txt": words(400), "key.ts": `const token = "${secret}";\n`, "pic.bin": "\0\0" },
      async ({ ask, counts, published }) => {
        const early = (await ask("longContext/findings", {})).findings.map(({ kind }) => kind);
        assert.deepEqual(new Set(early), new Set(["duplicate", "binary"]));
        const from = published.length;
        while (published.length === from) await new Promise((resolve) => setImmediate(resolve));
        const { findings } = await ask("longContext/findings", {});
        const found = findings.find(({ kind }) => kind === "secret");
        assert.deepEqual([found?.path, found?.line, found?.severity], ["key.ts", 1, "warning"]);
        const duplicate = findings.find(({ kind }) => kind === "duplicate");
        assert.equal(duplicate?.path, "copy.txt");
        const before = counts.snapshot().packTokens;
        await ask("longContext/setLevels", { levels: duplicate.fixes[0]?.levels ?? {} });
        assert.equal(counts.snapshot().packTokens, before - 403);
        assert.ok(!(await ask("longContext/findings", {})).findings.some(({ kind }) => kind === "duplicate"));
      },
    ));
});
