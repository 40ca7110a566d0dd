/** What a disk may hold, and what may happen to it during a walk: nothing stops the walk, and nothing is without a row. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { type FoundFile, type Walk, walkRoot, type WalkOptions } from "../../../extension/server/walk.ts";
import { workspaceRoots } from "../../../extension/server/roots.ts";
import { withTempTree } from "../../support/tempTree.ts";

const nobody = { HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1", PATH: process.env.PATH ?? "" };
const notOnWindows = { skip: process.platform === "win32" ? "Windows has no such entries" : false };

function walk(folder: string, options: WalkOptions = {}): Promise<Walk> {
  return walkRoot({ folder, prefix: "" }, { environment: nobody, ...options });
}

function pathsOf({ files }: Walk): string[] {
  return files.map(({ path }) => path);
}

function reasonsOf({ excluded }: Walk): Record<string, string> {
  return Object.fromEntries(excluded.map(({ path, reason }) => [path, reason]));
}

describe("what a disk holds", notOnWindows, () => {
  it("links to themselves, in circles, in chains, to folders and through the root's own link", () =>
    withTempTree({ "w/a.ts": "1", "w/d/b.ts": "1", "w/.longcontextignore": "!gone\n", "out/d/s.ts": "1" }, async (top) => {
      const w = join(top, "w");
      symlinkSync("self", join(w, "self"));
      symlinkSync("two", join(w, "one"));
      symlinkSync("one", join(w, "two"));
      symlinkSync("../out/d", join(w, "far"));
      symlinkSync("far", join(w, "chain"));
      symlinkSync("d", join(w, "near"));
      symlinkSync("/dev/zero", join(w, "zero"));
      symlinkSync(top, join(w, "d/up"));
      symlinkSync("w", join(top, "root"));
      const outside = "outside the folder; not followed";
      for (const folder of [w, join(top, "root")]) {
        const found = await walk(folder);
        assert.deepEqual(pathsOf(found), [".longcontextignore", "a.ts", "d/b.ts"]);
        assert.deepEqual(reasonsOf(found), {
          chain: `symbolic link to far, ${outside}`,
          "d/up": `symbolic link to ${top}, ${outside}`,
          far: `symbolic link to ../out/d, ${outside}`,
          near: "symbolic link to d; not followed",
          one: "symbolic link to two; not followed",
          self: "symbolic link to self; not followed",
          two: "symbolic link to one; not followed",
          zero: `symbolic link to /dev/zero, ${outside}`,
        });
      }
      assert.deepEqual(pathsOf(await walk(w, { under: "far/s.ts" })), [], "a path through a link is not looked at");
      assert.deepEqual(Object.keys(reasonsOf(await walk(w, { under: "far/s.ts" }))), ["far"]);
    }));

  it("links in place of rule files and of .git", () =>
    withTempTree({ rules: "*.ts\n", "w/a.ts": "1", "w/s/b.ts": "1", "w/g/c.ts": "1" }, async (top) => {
      const w = join(top, "w");
      symlinkSync("../rules", join(w, ".gitignore"));
      symlinkSync("../../rules", join(w, "s/.longcontextignore"));
      symlinkSync(".git", join(w, "g/.git"));
      symlinkSync(".git", join(w, ".git"));
      const found = await walk(w);
      assert.deepEqual(pathsOf(found), ["a.ts", "g/c.ts", "s/b.ts"]);
      assert.deepEqual(Object.keys(reasonsOf(found)), [".git", ".gitignore", "g/.git", "s/.longcontextignore"]);
    }));

  it("pipes, sockets and devices", () =>
    withTempTree({ "a.ts": "1", ".git/objects/x": "", ".git/refs/x": "" }, async (folder) => {
      for (const name of ["pipe", ".git/HEAD", ".git/index", ".git/config"]) execFileSync("mkfifo", [join(folder, name)]);
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(join(folder, "socket"), resolve));
      const found = await walk(folder);
      await new Promise((resolve) => server.close(resolve));
      assert.deepEqual(pathsOf(found), ["a.ts"]);
      assert.deepEqual(reasonsOf(found), {
        ".git/": "git's own data",
        pipe: "named pipe; only files are read",
        socket: "socket; only files are read",
      });
      assert.deepEqual(reasonsOf(await walk("/dev", { under: "null" })), { null: "device; only files are read" });
    }));

  it("a pipe in place of git's index is told, and waited for by nobody", () =>
    withTempTree({ "a.ts": "1" }, async (folder) => {
      execFileSync("git", ["init", "-q"], { cwd: folder, env: nobody });
      execFileSync("mkfifo", [join(folder, ".git/index")]);
      const found = await walk(folder);
      assert.deepEqual(pathsOf(found), ["a.ts"]);
      assert.match(reasonsOf(found)[".git/index"] ?? "", /^git's index cannot be read \(not a file\)/);
    }));

  it("folders and rule files that may not be read", () =>
    withTempTree(
      { "a.ts": "1", "closed/b.ts": "1", "listed/c.ts": "1", "r/.gitignore": "*\n", "r/d.ts": "1" },
      async (folder) => {
        chmodSync(folder, 0o755);
        chmodSync(join(folder, "closed"), 0);
        chmodSync(join(folder, "listed"), 0o744);
        chmodSync(join(folder, "r/.gitignore"), 0);
        const found = await asOrdinaryUser(() => walk(folder));
        chmodSync(join(folder, "closed"), 0o755);
        chmodSync(join(folder, "listed"), 0o755);
        assert.deepEqual(pathsOf(found), ["a.ts", "r/.gitignore", "r/d.ts"]);
        assert.deepEqual(reasonsOf(found), {
          "closed/": "cannot be read (EACCES)",
          "listed/c.ts": "cannot be read (EACCES)",
        });
        chmodSync(folder, 0);
        const root = await asOrdinaryUser(() => walk(folder)).finally(() => chmodSync(folder, 0o755));
        assert.deepEqual(reasonsOf(root), { "./": "cannot be read (EACCES)" });
      },
    ));

  it("names with line breaks, tabs, backslashes, blanks, quotes and every script", () =>
    withTempTree({}, async (folder) => {
      const names = [
        "a\nb.ts",
        "\n",
        "\t",
        " ",
        "a\\b",
        '"',
        "'",
        "*",
        "é",
        "e\u0301",
        "日本.ts",
        "🙂",
        "\u202eevil",
        "-rf",
        "~",
        "\uFFFD",
      ];
      for (const name of names) writeFileSync(join(folder, name), "1");
      mkdirSync(join(folder, "d\ne"));
      writeFileSync(join(folder, "d\ne/f"), "1");
      assert.deepEqual(pathsOf(await walk(folder)), [...names, "d\ne/f"].sort());
    }));

  it("names that are no UTF-8 have each a row of their own, folders too, and rules for their bytes hold", () =>
    withTempTree({ ".gitignore": Uint8Array.of(0x61, 0xfe, 10) }, async (folder) => {
      for (const bytes of [
        [0x61, 0xff],
        [0x61, 0xfe],
        [0xc3, 0xa9, 0xff],
        [0xf0, 0x9f],
      ]) {
        writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(bytes)]), "1");
      }
      mkdirSync(Buffer.concat([Buffer.from(`${folder}/d`), Buffer.of(0xff)]));
      const bad = "cannot be read (its name is not valid UTF-8)";
      assert.deepEqual(reasonsOf(await walk(folder)), {
        "\\xf0\\x9f": bad,
        "a\\xfe": "ignored by .gitignore: a\uFFFD",
        "a\\xff": bad,
        "d\\xff/": bad,
        "é\\xff": bad,
      });
    }));

  it("paths that are longer than the system takes, and thousands of folders in each other", () =>
    withTempTree({ "a.ts": "1" }, async (folder) => {
      const before = process.cwd();
      try {
        process.chdir(folder);
        for (let depth = 0; depth < 1200; depth++) deeper("d");
        writeFileSync("f", "1");
        process.chdir(folder);
        for (let depth = 0; depth < 25; depth++) deeper("n".repeat(200));
        writeFileSync("f", "1");
      } finally {
        process.chdir(before);
      }
      const found = await walk(folder);
      assert.deepEqual(pathsOf(found), ["a.ts", `${"d/".repeat(1200)}f`]);
      const [row, ...others] = found.excluded;
      assert.equal(others.length, 0);
      assert.equal(row?.reason, "cannot be read (ENAMETOOLONG)");
      assert.match(row.path, /^(n{200}\/)+$/);
      execFileSync("rm", ["-rf", join(folder, "n".repeat(200))]);
    }));
});

/** A list that tells of every file as it is found. */
function noticingList(notice: (path: string) => void): FoundFile[] {
  const files: FoundFile[] = [];
  files.push = (...found) => {
    for (const { path } of found) notice(path);
    return Array.prototype.push.apply(files, found);
  };
  return files;
}

describe("what happens during a walk", notOnWindows, () => {
  it("files and folders that vanish, grow, or become something else", () =>
    withTempTree(
      { "out/secret.ts": "1", "w/z/deep/y.ts": "1", "w/link/l.ts": "1", "w/file/m.ts": "1", "w/gone/g.ts": "1" },
      async (top) => {
        const w = join(top, "w");
        mkdirSync(join(w, "a"));
        for (let file = 0; file < 6000; file++) writeFileSync(join(w, "a", `f${String(file).padStart(4, "0")}`), "1");
        let changed = false;
        const found = await walk(w, {
          files: noticingList((path) => {
            if (path !== "a/f0010") return;
            changed = true;
            rmSync(join(w, "a/f5990"));
            rmSync(join(w, "a/f5991"));
            mkdirSync(join(w, "a/f5991"));
            rmSync(join(w, "a/f5992"));
            symlinkSync("../../out/secret.ts", join(w, "a/f5992"));
            for (const name of ["link", "file", "gone"]) rmSync(join(w, name), { recursive: true });
            symlinkSync("../out", join(w, "link"));
            writeFileSync(join(w, "file"), "1");
            renameSync(join(w, "z/deep"), join(w, "z/other"));
          }),
        });
        assert.ok(changed, "the file was not found");
        assert.equal(found.files.filter(({ path }) => path.startsWith("a/")).length, 5997);
        assert.deepEqual(
          pathsOf(found).filter((path) => !path.startsWith("a/")),
          ["z/other/y.ts"],
        );
        const changedMeanwhile = "changed while it was looked at";
        assert.deepEqual(reasonsOf(found), {
          "a/f5991": changedMeanwhile,
          "a/f5992": changedMeanwhile,
          "file/": changedMeanwhile,
          "gone/": "cannot be read (ENOENT)",
          "link/": changedMeanwhile,
        });
      },
    ));

  it("a path that is looked at may have a file where its folder was, or be gone", () =>
    withTempTree({ "a.ts": "1", "d/b.ts": "1" }, async (folder) => {
      for (const under of ["a.ts/b.ts", "a.ts/b/c", "d/gone/x.ts", "gone/x", "d/b.ts/x"]) {
        const found = await walk(folder, { under });
        assert.deepEqual([pathsOf(found), reasonsOf(found)], [[], {}], under);
      }
    }));

  it("a folder that is aborted in the middle of its listing", () =>
    withTempTree({ "a/b": "1" }, async (folder) => {
      for (let file = 0; file < 9000; file++) writeFileSync(join(folder, "a", `a-name-of-some-length-${file}`), "");
      const controller = new AbortController();
      const stopped = walk(folder, { signal: controller.signal, onProgress: () => controller.abort() });
      await assert.rejects(stopped, /aborted|stopped/);
    }));
});

describe("several folders of a workspace", () => {
  it("one inside the other, and one that the other ignores: each file once", () =>
    withTempTree(
      { "all/a.ts": "1", "all/in/b.ts": "1", "all/in/deep/c.ts": "1", "all/dist/d.ts": "1", "all/.gitignore": "/dist/\n" },
      async (top) => {
        mkdirSync(join(top, "all/.git"));
        execFileSync("git", ["init", "-q"], { cwd: join(top, "all"), env: nobody });
        const folders = ["all", "all/in", "all/in/deep", "all/dist"].map((path) => ({
          name: basename(path),
          folder: join(top, path),
        }));
        const roots = workspaceRoots(folders);
        const found: string[] = [];
        const rows: string[] = [];
        for (const root of roots) {
          const { files, excluded } = await walkRoot(root, {
            otherRoots: roots.filter((other) => other !== root),
            environment: nobody,
          });
          found.push(...files.map(({ path }) => path));
          rows.push(...excluded.map(({ path, kind }) => `${kind} ${path}`));
        }
        assert.deepEqual(found, ["all/.gitignore", "all/a.ts", "in/b.ts", "deep/c.ts", "dist/d.ts"]);
        assert.deepEqual(rows, ["git-data all/.git/", "other-root all/dist/", "other-root all/in/", "other-root in/deep/"]);
        assert.ok(existsSync(join(top, "all/dist")));
      },
    ));
});

function deeper(name: string): void {
  mkdirSync(name);
  process.chdir(name);
}

/** The superuser may read everything, so that rights are only seen by somebody else. */
async function asOrdinaryUser<Result>(work: () => Promise<Result>): Promise<Result> {
  const { seteuid, setegid, getegid } = process;
  if (process.getuid?.() !== 0 || !seteuid || !setegid) return work();
  const group = getegid?.() ?? 0;
  setegid(65534);
  seteuid(65534);
  try {
    return await work();
  } finally {
    seteuid(0);
    setegid(group);
  }
}
