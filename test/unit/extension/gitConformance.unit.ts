import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { parseIndex } from "../../../extension/server/gitIndex.ts";
import { walkRoot } from "../../../extension/server/walk.ts";
import { seeded } from "../../support/random.ts";
import { withTempTree } from "../../support/tempTree.ts";

/** The machine's own git settings must not decide what these trees ignore. */
const environment = {
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "a",
  GIT_AUTHOR_EMAIL: "a@b",
  GIT_COMMITTER_NAME: "a",
  GIT_COMMITTER_EMAIL: "a@b",
};
const saved = new Map<string, string | undefined>();

function git(folder: string, ...args: string[]): string {
  return execFileSync("git", ["-C", folder, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** What git would show: tracked files, and untracked ones that no rule ignores. */
function listed(folder: string): string[] {
  const out = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard");
  return [...new Set(out.split("\0").filter((path) => path !== "" && !path.endsWith("/")))].sort();
}

async function walked(folder: string): Promise<string[]> {
  const { files } = await walkRoot({ folder, prefix: "" });
  return files.map(({ path }) => path).sort();
}

function write(folder: string, path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

const names = ["a", "b", "build", "c d", "out", "x.log", "y.ts", "Z.ts", "#h", "!b", "é", "[q]", "tmp~", ".dot"];
const patterns =
  "*.log|/build|build/|!x.log|out/**|**/out|a/b|a/*|!a/b|*.ts|!y.ts|/a/**/y.ts|[ab]|[!a]|\\#h|\\!b|c d|c d/|*~|.dot|**/|!*/|é|\\[q\\]|a|b/|!out/y.ts|x.*|?|trailing \\ |trailing   |# note||/*|!/a|!/a/|foo/**/bar|Z.TS".split(
    "|",
  );

function randomTree(random: () => number, folder: string): string[] {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)];
  const files = new Set<string>();
  for (let i = 0; i < 30; i++) {
    const depth = Math.floor(random() * 4);
    files.add([...Array.from({ length: depth }, () => pick(names)), `${pick(names)}${random() < 0.3 ? ".f" : ""}`].join("/"));
  }
  const kept: string[] = [];
  for (const path of files) {
    try {
      write(folder, path, path);
      kept.push(path);
    } catch {
      // A file stands where this path needs a folder, or the other way round: the tree goes without it.
      continue;
    }
  }
  const rules = (): string => Array.from({ length: 1 + Math.floor(random() * 5) }, () => pick(patterns)).join("\n") + "\n";
  write(folder, ".gitignore", rules());
  for (const path of kept) if (path.includes("/") && random() < 0.2) write(folder, join(dirname(path), ".gitignore"), rules());
  if (random() < 0.4) write(folder, ".git/info/exclude", rules());
  if (random() < 0.3) write(folder, "../global-ignore", rules());
  else write(folder, "../global-ignore", "");
  return kept;
}

describe("the walk and git", () => {
  before(() => {
    for (const [key, value] of Object.entries(environment)) {
      saved.set(key, process.env[key]);
      process.env[key] = value;
    }
    saved.set("GIT_CONFIG_GLOBAL", process.env.GIT_CONFIG_GLOBAL);
  });
  after(() => {
    for (const [key, value] of saved) {
      if (value === undefined) Reflect.deleteProperty(process.env, key);
      else process.env[key] = value;
    }
  });

  it("list the same files on random trees with random rules, some tracked although ignored", async () => {
    const random = seeded(2024);
    for (let round = 0; round < 60; round++) {
      await withTempTree({ "home/config": "", "repo/keep": "" }, async (folder) => {
        const repo = join(folder, "repo");
        process.env.GIT_CONFIG_GLOBAL = join(folder, "home", "config");
        writeFileSync(process.env.GIT_CONFIG_GLOBAL, `[core]\n\texcludesFile = "${join(folder, "global-ignore")}" ; mine\n`);
        git(repo, "init", "-q");
        if (random() < 0.3) git(repo, "config", "core.ignoreCase", "true");
        const files = randomTree(random, repo);
        const tracked = files.filter(() => random() < 0.2);
        if (tracked.length > 0) git(repo, "add", "-f", "--", ...tracked.map((path) => `:(literal)${path}`));
        if (random() < 0.4) git(repo, "update-index", "--index-version", random() < 0.5 ? "4" : "3");
        const rules = [
          ...files.map((path) => join(dirname(path), ".gitignore")),
          ".gitignore",
          ".git/info/exclude",
          "../global-ignore",
        ];
        const shown = [...new Set(rules)].flatMap((path) => {
          try {
            return [`${path}: ${JSON.stringify(readFileSync(join(repo, path), "utf8"))}`];
          } catch {
            return [];
          }
        });
        assert.deepEqual(await walked(repo), listed(repo), `round ${round}: ${shown.join("; ")}`);
      });
    }
  });

  it("leave submodules and nested repositories out, as rows", async () => {
    await withTempTree({ "sub/s.ts": "s", "repo/a.ts": "a", "repo/nested/n.ts": "n" }, async (folder) => {
      process.env.GIT_CONFIG_GLOBAL = join(folder, "none");
      for (const path of ["sub", "repo", "repo/nested"]) git(join(folder, path), "init", "-q");
      git(join(folder, "sub"), "add", ".");
      git(join(folder, "sub"), "commit", "-qm", "one");
      git(
        join(folder, "repo"),
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        join(folder, "sub"),
        "lib/sub",
      );
      const repo = join(folder, "repo");
      const { files, excluded } = await walkRoot({ folder: repo, prefix: "" });
      assert.deepEqual(
        files.map(({ path }) => path),
        [".gitmodules", "a.ts"],
      );
      const rows = excluded.filter(({ kind }) => kind === "submodule").map(({ path }) => path);
      assert.deepEqual(rows, ["lib/sub/", "nested/"]);
      // The submodule itself, whose .git is a file, is walked as a root of its own.
      assert.deepEqual(await walked(join(repo, "lib/sub")), ["s.ts"]);
    });
  });

  it("agree inside a linked working tree, whose exclude file and index lie elsewhere", async () => {
    await withTempTree({ "repo/a.ts": "a", "repo/b.log": "b" }, async (folder) => {
      process.env.GIT_CONFIG_GLOBAL = join(folder, "none");
      const repo = join(folder, "repo");
      git(repo, "init", "-q");
      git(repo, "add", ".");
      git(repo, "commit", "-qm", "one");
      git(repo, "worktree", "add", "-q", join(folder, "linked"));
      write(repo, ".git/info/exclude", "*.log\n");
      write(join(folder, "linked"), "new.log", "x");
      write(join(folder, "linked"), "new.ts", "x");
      assert.deepEqual(await walked(join(folder, "linked")), ["a.ts", "b.log", "new.ts"]);
      assert.deepEqual(await walked(join(folder, "linked")), listed(join(folder, "linked")));
    });
  });

  it("an index that is cut is an error, and the walk says so in a row", async () => {
    await withTempTree({ "repo/a.ts": "a" }, async (folder) => {
      process.env.GIT_CONFIG_GLOBAL = join(folder, "none");
      const repo = join(folder, "repo");
      git(repo, "init", "-q");
      git(repo, "add", ".");
      const index = readFileSync(join(repo, ".git", "index"));
      assert.throws(() => parseIndex(index.subarray(0, 40), 20));
      assert.throws(() => parseIndex(Buffer.from("nonsense, not an index"), 20), /not a git index/);
      writeFileSync(join(repo, ".git", "index"), index.subarray(0, 40));
      const { files, excluded } = await walkRoot({ folder: repo, prefix: "" });
      assert.equal(files.length, 1);
      assert.ok(excluded.some(({ reason }) => reason.includes("index cannot be read")));
    });
  });
});
