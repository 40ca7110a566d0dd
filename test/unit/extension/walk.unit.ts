import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { lstat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { absolutePath, rootOf, workspaceRoots } from "../../../extension/server/roots.ts";
import { walkRoot } from "../../../extension/server/walk.ts";
import { withTempTree } from "../../support/tempTree.ts";

function rootAt(folder: string): { folder: string; prefix: string } {
  return { folder, prefix: "" };
}

/** Walks a tree, and asserts the paths found and the reasons of what is left out. */
async function checkWalk(
  tree: Record<string, string | Uint8Array>,
  wanted: string[],
  excluded: Record<string, string>,
  under?: { root?: string; path?: string },
): Promise<void> {
  await withTempTree(tree, async (folder) => {
    const walk = await walkRoot(rootAt(under?.root ? join(folder, under.root) : folder), { under: under?.path });
    assert.deepEqual(
      walk.files.map(({ path }) => path),
      wanted,
    );
    assert.deepEqual(Object.fromEntries(walk.excluded.map(({ path, reason }) => [path, reason])), excluded);
  });
}

test("nested ignore files, negation and a folder as one row", () =>
  checkWalk(
    {
      ".gitignore": "*.log\n/out/\n!keep.log\n",
      "a.ts": "1",
      "b.log": "x",
      "keep.log": "x",
      "out/x.ts": "1",
      "src/out/y.ts": "1",
      "src/.gitignore": "!b.log\ngen.ts\r\n",
      "src/b.log": "x",
      "src/gen.ts": "1",
      "src/deep/gen.ts": "1",
    },
    [".gitignore", "a.ts", "keep.log", "src/.gitignore", "src/b.log", "src/out/y.ts"],
    {
      "b.log": "ignored by .gitignore: *.log",
      "out/": "ignored by .gitignore: /out/",
      "src/deep/gen.ts": "ignored by src/.gitignore: gen.ts",
      "src/gen.ts": "ignored by src/.gitignore: gen.ts",
    },
  ));

test("a nested file re-includes a folder that an upper one ignores, and upper names still count inside it", () =>
  checkWalk(
    {
      ".gitignore": "build\n*.tmp\n",
      "sub/.gitignore": "!/build/\n",
      "sub/build/a.ts": "1",
      "sub/build/x/build/b.ts": "1",
      "sub/build/c.tmp": "1",
      "build/d.ts": "1",
    },
    [".gitignore", "sub/.gitignore", "sub/build/a.ts"],
    {
      "build/": "ignored by .gitignore: build",
      "sub/build/c.tmp": "ignored by .gitignore: *.tmp",
      "sub/build/x/build/": "ignored by .gitignore: build",
    },
  ));

test("a tree with many rules gives the same files as git", async () => {
  const tree = {
    ".gitignore": "*.o\n/doc/*\n!/doc/keep.md\ntmp/**/cache\n\\!odd\nwith space.txt\n",
    ".git/info/exclude": "secret.txt\n",
    "!odd": "1",
    "a.o": "1",
    "doc/drop.md": "1",
    "doc/keep.md": "1",
    "tmp/a/cache/x": "1",
    "tmp/a/b/cache": "1",
    "tmp/a/keep": "1",
    "with space.txt": "1",
    "secret.txt": "1",
    "lib/.gitignore": "/*\n!/in\n",
    "lib/in/a.c": "1",
    "lib/out/a.c": "1",
    "re/.gitignore": "!*.o\n!/cache/\n",
    "re/b.o": "1",
    "re/tmp/c/cache/d.o": "1",
    "tmp/e/.gitignore": "!cache\n",
    "tmp/e/cache/f": "1",
    "tmp/e/cache/g/cache/h": "1",
    "CASE/.gitignore": "readme\n",
    "CASE/README": "1",
  };
  await withTempTree(tree, async (folder) => {
    const git = (...args: string[]): string => execFileSync("git", args, { cwd: folder, encoding: "utf8" });
    git("init", "-q");
    const listed = git("-c", "core.excludesFile=", "ls-files", "--others", "--exclude-standard", "-z")
      .split("\0")
      .filter(Boolean)
      .sort();
    const { files } = await walkRoot(rootAt(folder));
    assert.deepEqual(
      files.map(({ path }) => path),
      listed,
    );
  });
});

test("a root inside a repository obeys the ignore files above it, unless they ignore the root itself", async () => {
  const tree = {
    ".git/HEAD": "ref: refs/heads/main\n",
    ".git/objects/x": "",
    ".git/refs/x": "",
    ".gitignore": "*.log\n/pkg/gen/\n/dist/\n",
    "pkg/a.ts": "1",
    "pkg/b.log": "1",
    "pkg/gen/c.ts": "1",
    "dist/d.log": "1",
  };
  await checkWalk(
    tree,
    ["a.ts"],
    { "b.log": "ignored by ../.gitignore: *.log", "gen/": "ignored by ../.gitignore: /pkg/gen/" },
    { root: "pkg" },
  );
  await checkWalk(tree, ["d.log"], {}, { root: "dist" });
});

test(".longcontextignore adds to .gitignore and wins over it", () =>
  checkWalk(
    { ".gitignore": "a.ts\n", ".longcontextignore": "!a.ts\n*.json\n", "a.ts": "1", "b.json": "{}" },
    [".gitignore", ".longcontextignore", "a.ts"],
    { "b.json": "ignored by .longcontextignore: *.json" },
  ));

test("links, big files, .git and node_modules are rows", async () => {
  await withTempTree(
    { "a.ts": "1", "big.txt": new Uint8Array(1024 * 1024 + 1).fill(65), ".git/HEAD": "x", "node_modules/p/i.js": "1" },
    async (folder) => {
      await symlink(folder, join(folder, "loop"));
      await symlink(join(folder, "a.ts"), join(folder, "link.ts"));
      const walk = await walkRoot(rootAt(folder));
      const { mtimeMs } = await lstat(join(folder, "a.ts"));
      assert.deepEqual(walk.files, [{ path: "a.ts", absolute: join(folder, "a.ts"), sizeBytes: 1, mtimeMs }]);
      assert.deepEqual(walk.excluded, [
        { path: ".git/", reason: "git's own data", kind: "git-data" },
        { path: "big.txt", reason: "larger than 1 MiB (1,048,577 bytes)", kind: "too-large" },
        { path: "link.ts", reason: `symbolic link to ${join(folder, "a.ts")}; not followed`, kind: "symlink" },
        { path: "loop", reason: `symbolic link to ${folder}; not followed`, kind: "symlink" },
        { path: "node_modules/", reason: "installed packages", kind: "installed-packages" },
      ]);
      const options = { maxFileBytes: 2 * 1024 * 1024, include: ["*.txt"] };
      const wide = await walkRoot(rootAt(folder), options);
      assert.deepEqual(
        wide.files.map(({ path }) => path),
        ["big.txt"],
      );
      assert.equal(wide.excluded.find(({ path }) => path === "a.ts")?.kind, "not-included");
      const few = await walkRoot(rootAt(folder), { maxFileBytes: 2 * 1024 * 1024, maxFiles: 1 });
      assert.equal(few.files.length, 1);
      assert.match(
        few.excluded.find(({ kind }) => kind === "too-many-files")?.reason ?? "",
        /^more than 1 files: 1 not looked at; open a smaller folder/,
      );
    },
  );
});

test("one path is walked under the rules of all folders above it", async () => {
  const tree = { ".gitignore": "/out/\n", "src/.gitignore": "gen/\n", "src/a/b.ts": "1", "src/gen/c.ts": "1", "out/d.ts": "1" };
  await checkWalk(tree, ["src/a/b.ts"], {}, { path: "src/a/b.ts" });
  await checkWalk(tree, ["src/a/b.ts"], {}, { path: "src/a" });
  await checkWalk(tree, [], { "src/gen/": "ignored by src/.gitignore: gen/" }, { path: "src/gen/c.ts" });
  await checkWalk(tree, [], { "out/": "ignored by .gitignore: /out/" }, { path: "out/d.ts" });
  await checkWalk(tree, [], {}, { path: "src/gone.ts" });
});

test("no folder, or a file, is an error that says which", async () => {
  await withTempTree({ "a.ts": "1" }, async (folder) => {
    const is = (message: RegExp) => (error: unknown) => EngineError.is(error, "no-such-folder") && message.test(error.message);
    await assert.rejects(walkRoot(rootAt(join(folder, "nope"))), is(/does not exist/));
    await assert.rejects(walkRoot(rootAt(join(folder, "a.ts"))), is(/is a file/));
  });
});

test("a walk stops when it is aborted", async () => {
  await withTempTree({ "a/b.ts": "1" }, async (folder) => {
    const controller = new AbortController();
    controller.abort();
    await assert.rejects(walkRoot(rootAt(folder), { signal: controller.signal }), (error) => EngineError.is(error, "aborted"));
  });
});

test("several roots have names, and paths do not leave them", () => {
  const roots = workspaceRoots([
    { name: "app", folder: "/w/app" },
    { name: "app", folder: "/v/app" },
    { name: "inner", folder: "/w/app/inner" },
  ]);
  assert.deepEqual(
    roots.map(({ prefix }) => prefix),
    ["app/", "app (2)/", "inner/"],
  );
  assert.equal(absolutePath(roots, "app (2)/src/a.ts"), "/v/app/src/a.ts");
  assert.deepEqual(rootOf(roots, "/w/app/inner/b.ts"), { root: roots[2], inner: "b.ts" });
  for (const path of ["app/../../etc/passwd", "/etc/passwd", "other/a.ts", "app/", "app//etc/passwd"]) {
    assert.throws(
      () => absolutePath(roots, path),
      (error) => EngineError.is(error, "not-found"),
      path,
    );
  }
});
