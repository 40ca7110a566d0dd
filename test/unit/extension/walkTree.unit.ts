import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { chmod, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { type FoundFile, type WalkOptions, walkRoot } from "../../../extension/server/walk.ts";
import { withTempTree } from "../../support/tempTree.ts";

const nobody = { HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1", PATH: process.env.PATH ?? "" };

/** Paths found, and kind and reason of every row by its path. */
async function walked(folder: string, options: WalkOptions = {}): Promise<{ files: string[]; rows: Record<string, string> }> {
  const { files, excluded } = await walkRoot({ folder, prefix: "" }, { environment: nobody, ...options });
  assert.equal(new Set(excluded.map(({ path }) => path)).size, excluded.length, "a path has one row");
  const rows: Record<string, string> = {};
  for (const { path, kind, reason } of excluded) rows[path] = `${kind}: ${reason}`;
  return { files: files.map(({ path }) => path), rows };
}

/** Runs git as nobody in particular. */
function git(folder: string, ...args: string[]): void {
  const author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"];
  execFileSync("git", [...author, ...args], { cwd: folder, env: nobody, stdio: ["ignore", "pipe", "pipe"] });
}

/** The least that git takes for a repository. */
function repository(at: string): Record<string, string> {
  return { [`${at}.git/HEAD`]: "ref: refs/heads/main\n", [`${at}.git/objects/x`]: "", [`${at}.git/refs/x`]: "" };
}

describe("repositories inside the walk", () => {
  it("a submodule and a repository inside the repository are rows that say how to include them, and roots of their own", async () => {
    await withTempTree(
      { "sub/s.ts": "1", "repo/a.ts": "1", "repo/nested/n.ts": "1", "repo/empty/.git/x": "", "repo/empty/e.ts": "1" },
      async (top) => {
        const repo = join(top, "repo");
        for (const path of ["sub", "repo", "repo/nested"]) git(join(top, path), "init", "-q");
        git(join(top, "sub"), "add", ".");
        git(join(top, "sub"), "commit", "-qm", "one");
        git(repo, "submodule", "--quiet", "add", join(top, "sub"), "lib/sub");
        const { files, rows } = await walked(repo);
        assert.deepEqual(files, [".gitmodules", "a.ts", "empty/e.ts"]);
        assert.equal(
          rows["lib/sub/"],
          'submodule: submodule; open it as a folder of its own, or write "!/lib/sub/" into .longcontextignore',
        );
        assert.match(rows["nested/"] ?? "", /^submodule: a repository of its own; .*"!\/nested\/"/);
        assert.deepEqual((await walked(join(repo, "lib/sub"))).files, ["s.ts"]);
        await writeFile(join(repo, ".longcontextignore"), "!/lib/sub/\n!/nested/\n");
        assert.deepEqual((await walked(repo)).files, [
          ".gitmodules",
          ".longcontextignore",
          "a.ts",
          "empty/e.ts",
          "lib/sub/s.ts",
          "nested/n.ts",
        ]);
      },
    );
  });

  it("a linked working tree has the exclude file and the configuration of its repository, and its own index", async () => {
    await withTempTree({ "repo/a.log": "1", "home/ignore": "*.tmp\n" }, async (top) => {
      const [repo, linked] = [join(top, "repo"), join(top, "linked")];
      git(repo, "init", "-q");
      git(repo, "add", ".");
      git(repo, "commit", "-qm", "one");
      git(repo, "worktree", "add", "-q", linked);
      git(repo, "config", "core.excludesFile", join(top, "home/ignore"));
      await writeFile(join(repo, ".git/info/exclude"), "*.log\n");
      for (const name of ["new.log", "new.tmp", "new.ts"]) await writeFile(join(linked, name), "1");
      const { files, rows } = await walked(linked);
      assert.deepEqual(files, ["a.log", "new.ts"]);
      assert.equal(rows["new.log"], `ignored: ignored by ${repo}/.git/info/exclude: *.log`);
      assert.match(rows["new.tmp"] ?? "", /home\/ignore \(core.excludesFile\): \*\.tmp$/);
    });
  });

  it("outside any repository, each one below is walked by its own rules", async () => {
    const tree = {
      ".gitignore": "*.a\n",
      "x.a": "1",
      ...repository("one/"),
      "one/.git/info/exclude": "*.b\n",
      "one/x.a": "1",
      "one/x.b": "1",
      ...repository("two/"),
      "two/x.b": "1",
    };
    await withTempTree(tree, async (folder) => {
      const { files, rows } = await walked(folder);
      assert.deepEqual(files, [".gitignore", "one/x.a", "two/x.b"]);
      assert.equal(rows["one/x.b"], "ignored: ignored by .git/info/exclude: *.b");
    });
  });

  it("the user's configuration is found where git looks for it, with includes, and is never run", async () => {
    const tree = {
      ...repository("w/"),
      "w/.git/config": '[core]\n\tfsmonitor = "touch ../ran"\n[include]\n\tpath = extra\n',
      "w/.git/extra": '[core] excludesFile = "../rules" ; mine\n',
      rules: "*.extra\n",
      "home/.config/git/ignore": "*.default\n",
      "home/.gitconfig": '[includeIf "gitdir:**/w/"]\n\tpath = mine\n[includeIf "gitdir:/elsewhere/"]\n\tpath = no\n',
      "home/mine": "[core]\n\texcludesFile = ~/of-\\\nhome\n",
      "home/no": "[core]\n\texcludesFile = ~/no\n",
      "home/of-home": "*.home\n",
      "w/x.extra": "1",
      "w/x.default": "1",
      "w/x.home": "1",
    };
    await withTempTree(tree, async (top) => {
      const w = join(top, "w");
      const left = async (environment: Record<string, string>): Promise<string[]> => {
        const { rows } = await walked(w, { environment: { GIT_CONFIG_NOSYSTEM: "1", ...environment } });
        return Object.keys(rows).filter((path) => path.startsWith("x."));
      };
      assert.deepEqual(await left({ HOME: join(top, "home") }), ["x.extra"]);
      await writeFile(join(w, ".git/config"), "[core\n");
      assert.deepEqual(await left({ HOME: join(top, "home") }), ["x.home"]);
      await writeFile(join(top, "home/.gitconfig"), "");
      assert.deepEqual(await left({ HOME: join(top, "home") }), ["x.default"]);
      assert.deepEqual(await left({ HOME: "/nonexistent", XDG_CONFIG_HOME: join(top, "home/.config") }), ["x.default"]);
      assert.deepEqual(await left({ HOME: "/nonexistent" }), []);
      await assert.rejects(readFile(join(top, "ran")));
    });
  });

  it("an index that is cut is a row, and the walk goes on", async () => {
    await withTempTree({ "a.ts": "1", "b.ts": "1" }, async (folder) => {
      git(folder, "init", "-q");
      git(folder, "add", ".");
      const index = await readFile(join(folder, ".git/index"));
      for (const damaged of [
        index.subarray(0, 40),
        index.subarray(0, 100),
        Buffer.from("nonsense, no index"),
        Buffer.from("DIRC\0\0\0\x09\0\0\0\0"),
      ]) {
        await writeFile(join(folder, ".git/index"), damaged);
        const { files, rows } = await walked(folder);
        assert.deepEqual(files, ["a.ts", "b.ts"]);
        assert.match(rows[".git/index"] ?? "", /^unreadable: git's index cannot be read .*: ignored files count as untracked/);
      }
    });
  });
});

describe(".longcontextignore", () => {
  it("takes back what git ignores, also deep inside an ignored folder, and wins over what git tracks", async () => {
    const tree = {
      ".gitignore": "/dist/\n/gen/\n*.tmp\n",
      ".longcontextignore": "!/dist/api/*.d.ts\n!/gen/\n!keep.tmp\n/docs/\n",
      "dist/a.js": "1",
      "dist/api/x.d.ts": "1",
      "dist/api/x.js": "1",
      "dist/other/y.js": "1",
      "gen/g.ts": "1",
      "gen/g.tmp": "1",
      "keep.tmp": "1",
      "docs/d.md": "1",
    };
    await withTempTree(tree, async (folder) => {
      git(folder, "init", "-q");
      git(folder, "add", "-f", "docs");
      const { files, rows } = await walked(folder);
      assert.deepEqual(files, [".gitignore", ".longcontextignore", "dist/api/x.d.ts", "gen/g.ts", "keep.tmp"]);
      assert.equal(rows["dist/other/"], "ignored: ignored by .gitignore: /dist/");
      assert.equal(rows["dist/api/x.js"], "ignored: ignored by .gitignore: /dist/");
      assert.equal(rows["docs/"], "ignored: ignored by .longcontextignore: /docs/");
    });
  });

  it("takes installed packages back; what git tracks of them is in without it", async () => {
    const tree = {
      "node_modules/p/i.js": "1",
      "node_modules/q/i.js": "1",
      "fixtures/node_modules/r/i.js": "1",
      "fixtures/node_modules/s.js": "1",
    };
    await withTempTree(tree, async (folder) => {
      assert.deepEqual(await walked(folder), {
        files: [],
        rows: {
          "fixtures/node_modules/": "installed-packages: installed packages",
          "node_modules/": "installed-packages: installed packages",
        },
      });
      git(folder, "init", "-q");
      git(folder, "add", "-f", "fixtures/node_modules/r");
      assert.deepEqual((await walked(folder)).files, ["fixtures/node_modules/r/i.js"]);
      await writeFile(join(folder, ".longcontextignore"), "!/node_modules/\n/node_modules/q\n");
      assert.deepEqual((await walked(folder)).files, [
        ".longcontextignore",
        "fixtures/node_modules/r/i.js",
        "node_modules/p/i.js",
      ]);
    });
  });
});

describe("settings of a walk", () => {
  const tree = {
    "a.ts": "1",
    "a.js": "1",
    "src/b.ts": "1",
    "src/b.css": "1",
    "docs/x/c.md": "1",
    "docs/d.md": "1",
    "lib/e.ts": "1",
  };

  it("include globs: a folder in which nothing matches is one row", () =>
    withTempTree(tree, async (folder) => {
      const none = "not-included: no include glob names it";
      assert.deepEqual(await walked(folder, { include: ["*.{ts,css}"] }), {
        files: ["a.ts", "lib/e.ts", "src/b.css", "src/b.ts"],
        rows: { "a.js": none, "docs/": "not-included: nothing in it matches the include globs (2 entries)" },
      });
      assert.deepEqual(await walked(folder, { include: ["src/**", "/lib", "!*.css"] }), {
        files: ["lib/e.ts", "src/b.ts"],
        rows: { "a.js": none, "a.ts": none, "docs/": `${none} or anything in it`, "src/b.css": none },
      });
      assert.deepEqual((await walked(folder, { include: ["!*.ts"] })).files, ["a.js", "docs/d.md", "docs/x/c.md", "src/b.css"]);
      assert.deepEqual((await walked(folder, { include: ["*.ts"], under: "docs/d.md" })).rows, { "docs/d.md": none });
    }));

  it("sizes and numbers: what is over a cap is a row", () =>
    withTempTree({ ...tree, "big.txt": "x".repeat(3000) }, async (folder) => {
      const { files, rows } = await walked(folder, { maxFileBytes: 2048, maxFiles: 3 });
      assert.deepEqual(files, ["a.js", "a.ts", "docs/d.md"]);
      assert.deepEqual(rows, {
        "./": "too-many-files: more than 3 files: 4 not looked at; open a smaller folder or narrow the include globs",
        "big.txt": "too-large: larger than 2 KiB (2.9 KiB)",
      });
      assert.equal((await walked(folder, { maxFileBytes: 3000 })).files.includes("big.txt"), true);
    }));

  it("other folders of the workspace are rows of the one around them", () =>
    withTempTree(tree, async (folder) => {
      const inner = { folder: join(folder, "docs/x"), prefix: "x/" };
      const { excluded, files } = await walkRoot({ folder, prefix: "all/" }, { otherRoots: [inner], environment: nobody });
      assert.deepEqual(excluded, [{ path: "all/docs/x/", reason: "another folder of the workspace", kind: "other-root" }]);
      assert.equal(files[0]?.path, "all/a.js");
    }));

  it("progress counts entries; a walk that is stopped ends with aborted", () =>
    withTempTree(Object.fromEntries(Array.from({ length: 900 }, (_, at) => [`d${at % 9}/f${at}`, "1"])), async (folder) => {
      const seen: number[] = [];
      await walked(folder, { onProgress: (entries) => seen.push(entries) });
      assert.equal(seen.at(-1), 909);
      for (const stopAt of [1, 450, 900]) {
        const controller = new AbortController();
        const files: FoundFile[] = [];
        files.push = (...found) => {
          if (files.length + 1 === stopAt) controller.abort();
          return Array.prototype.push.apply(files, found);
        };
        const stopped = walked(folder, { signal: controller.signal, files });
        await assert.rejects(stopped, (error) => EngineError.is(error, "aborted"), `stopped at file ${stopAt}`);
      }
    }));

  it("gives size and time of a file", () =>
    withTempTree({ "a.ts": "123" }, async (folder) => {
      const { files } = await walkRoot({ folder, prefix: "" }, { environment: nobody });
      const [file] = files;
      assert.ok(file);
      assert.equal(file.sizeBytes, 3);
      assert.ok(Math.abs(file.mtimeMs - Date.now()) < 60_000);
    }));

  it("lists a folder of thousands in the order of paths", () =>
    withTempTree({ "f/z/a": "1", "f/z.a": "1" }, async (folder) => {
      const names = Array.from({ length: 9000 }, (_, at) => `${(at * 7919) % 9000}-a-rather-long-name`);
      for (const name of names) writeFileSync(join(folder, "f", name), "");
      const { files } = await walked(folder);
      assert.deepEqual(files, [...names.map((name) => `f/${name}`), "f/z.a", "f/z/a"].sort());
    }));
});

describe("what is no file", { skip: process.platform === "win32" ? "Windows has no such entries" : false }, () => {
  it("links are rows with their targets, never followed: loops, escapes and links to files", () =>
    withTempTree({ "w/a.ts": "1", "w/d/b.ts": "1", "out/secret.ts": "1" }, async (top) => {
      const w = join(top, "w");
      await symlink("..", join(w, "d/loop"));
      await symlink("../../out", join(w, "d/escape"));
      await symlink(join(w, "a.ts"), join(w, "link.ts"));
      await symlink("nowhere", join(w, "broken"));
      await symlink(w, join(top, "root"));
      assert.deepEqual(await walked(w), {
        files: ["a.ts", "d/b.ts"],
        rows: {
          broken: "symlink: symbolic link to nowhere; not followed",
          "d/escape": "symlink: symbolic link to ../../out, outside the folder; not followed",
          "d/loop": "symlink: symbolic link to ..; not followed",
          "link.ts": `symlink: symbolic link to ${w}/a.ts; not followed`,
        },
      });
      assert.deepEqual((await walked(join(top, "root"))).files, ["a.ts", "d/b.ts"]);
    }));

  it("pipes, also in place of rule files, unreadable folders and names that are no text are rows", () =>
    withTempTree({ "a.ts": "1", "closed/b.ts": "1" }, async (folder) => {
      execFileSync("mkfifo", [join(folder, "pipe"), join(folder, ".gitignore"), join(folder, ".longcontextignore")]);
      await writeFile(Buffer.concat([Buffer.from(`${folder}/bad`), Buffer.of(0xff)]), "1");
      await chmod(join(folder, "closed"), 0);
      const { files, rows } = await walked(folder);
      await chmod(join(folder, "closed"), 0o755);
      // The superuser may read everything.
      const closed = process.getuid?.() === 0 ? {} : { "closed/": "unreadable: cannot be read (EACCES)" };
      assert.deepEqual(
        files.filter((path) => path !== "closed/b.ts"),
        ["a.ts"],
      );
      assert.deepEqual(rows, {
        ".gitignore": "unreadable: named pipe; only files are read",
        ".longcontextignore": "unreadable: named pipe; only files are read",
        "bad\\xff": "unreadable: cannot be read (its name is not valid UTF-8)",
        ...closed,
        pipe: "unreadable: named pipe; only files are read",
      });
    }));
});
