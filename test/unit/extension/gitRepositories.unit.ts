/** Repositories of every shape: what the walk finds must be what git lists. Needs git. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { findRepository } from "../../../extension/server/gitRepository.ts";
import { RuleList } from "../../../extension/server/ignoreRules.ts";
import { walkRoot } from "../../../extension/server/walk.ts";
import { checkAgainstGit, git, pathsOf, reasonsOf, withRepository } from "../../support/gitAnswers.ts";
import { pick } from "../../support/gitTrees.ts";
import { seeded } from "../../support/random.ts";

describe("what git tracks and does not check out", () => {
  const tree = {
    ".gitignore": "*.o\n",
    "a/1": "1",
    "b/.gitignore": "*.tmp\n/y/out/\n",
    "b/3": "1",
    "b/y/tracked.o": "1",
    "c/.gitignore": "*\n",
    "c/deep/er/.gitignore": "!keep.o\n",
    "c/deep/er/x": "1",
  };
  const leftOvers = {
    "b/y/tracked.o": "1",
    "b/y/new.o": "1",
    "b/y/out/p": "1",
    "b/new.tmp": "1",
    "b/new.ts": "1",
    "c/deep/new.ts": "1",
    "c/deep/er/x": "1",
  };

  it("a sparse index: rules and tracked files of folders that are not checked out count where these exist", () =>
    withRepository(tree, async ({ folder, environment, run, write }) => {
      run("add", "-f", ".");
      run("commit", "-qm", "one");
      run("sparse-checkout", "set", "--cone", "--sparse-index", "a");
      assert.match(run("ls-files", "--sparse"), /^b\/$/m, "git wrote no sparse index");
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, environment)), [".gitignore", "a/1", "w.ts"]);
      write(leftOvers);
      const found = await walkRoot({ folder, prefix: "" }, { environment });
      assert.deepEqual(pathsOf(found), [".gitignore", "a/1", "b/new.ts", "b/y/tracked.o", "c/deep/er/x", "w.ts"]);
      assert.equal(reasonsOf(found)["b/new.tmp"], "ignored by b/.gitignore: *.tmp");
      // Git writes its index anew when it finds such folders.
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, environment)), pathsOf(found));
    }));

  it("the same with packed objects, and with ones that are gone: a row says so", () =>
    withRepository(tree, async ({ folder, environment, run, write }) => {
      run("add", "-f", ".");
      run("commit", "-qm", "one");
      run("gc", "-q");
      run("sparse-checkout", "set", "--cone", "--sparse-index", "a");
      write(leftOvers);
      const index = readFileSync(join(folder, ".git/index"));
      const found = await walkRoot({ folder, prefix: "" }, { environment });
      await checkAgainstGit(folder, environment);
      writeFileSync(join(folder, ".git/index"), index);
      assert.deepEqual(pathsOf(await walkRoot({ folder, prefix: "" }, { environment })), pathsOf(found));
      for (const name of readdirSync(join(folder, ".git/objects/pack"))) rmSync(join(folder, ".git/objects/pack", name));
      const lacking = await walkRoot({ folder, prefix: "" }, { environment });
      assert.match(reasonsOf(lacking)[".git/index"] ?? "", /^an object of git's sparse index is missing/);
      assert.ok(pathsOf(lacking).includes("b/new.tmp"));
    }));

  it("an ignore file that is not checked out, as a difference to another version in a pack", () =>
    withRepository({}, async ({ folder, environment, run, write }) => {
      const rules = Array.from({ length: 400 }, (_, at) => `name-${(at * 7919) % 400}-of-a-file\n`).join("");
      for (const version of ["*.one\n", "*.two\n", "*.three\n"]) {
        write({ "s/.gitignore": rules + version, "s/name-7-of-a-file": "1" });
        run("add", "s/.gitignore");
        run("commit", "-qm", version);
      }
      run("repack", "-q", "-a", "-d", "-f", "--depth=50");
      assert.match(run("verify-pack", "-v", join(folder, ".git/objects/pack", packName(folder))), /^\w+ blob .* [12] \w+$/m);
      for (const commit of ["HEAD", "HEAD~1", "HEAD~2"]) {
        run("checkout", "-q", commit, "--", "s/.gitignore");
        run("update-index", "--skip-worktree", "s/.gitignore");
        rmSync(join(folder, "s/.gitignore"));
        write({ "s/x.one": "1", "s/x.two": "1", "s/x.three": "1" });
        const walk = await checkAgainstGit(folder, environment);
        assert.equal(pathsOf(walk).filter((path) => path.startsWith("s/x.")).length, 2);
        run("update-index", "--no-skip-worktree", "s/.gitignore");
      }
    }));

  it("objects of a repository that others borrow from", () =>
    withRepository({ "s/.gitignore": "*.o\n" }, async ({ folder, home, environment, run }) => {
      run("add", ".");
      run("commit", "-qm", "one");
      run("clone", "-q", "--shared", folder, join(home, "borrower"));
      const borrower = join(home, "borrower");
      git(borrower, environment, ["update-index", "--skip-worktree", "s/.gitignore"]);
      rmSync(join(borrower, "s/.gitignore"));
      writeFileSync(join(borrower, "s/x.o"), "1");
      assert.equal(reasonsOf(await checkAgainstGit(borrower, environment))["s/"], undefined);
      assert.ok(!pathsOf(await checkAgainstGit(borrower, environment)).includes("s/x.o"));
      rmSync(join(borrower, ".git/objects/info/alternates"));
      const lacking = await walkRoot({ folder: borrower, prefix: "" }, { environment });
      assert.match(reasonsOf(lacking)["s/.gitignore"] ?? "", /^it is not checked out and git's objects lack it/);
      const inside = await walkRoot({ folder: join(borrower, "s"), prefix: "s/" }, { environment });
      assert.match(reasonsOf(inside)["s/.gitignore"] ?? "", /^it is not checked out/);
    }));

  it("conflicts, entries of all stages, and paths of thousands of bytes", () =>
    withRepository({ ".gitignore": "*.o\n", "c.o": "1", "d.o": "1" }, async ({ folder, environment, run }) => {
      const id = run("hash-object", "-w", "c.o").trim();
      const long = Array.from({ length: 22 }, () => "l".repeat(200)).join("/");
      const entries = [1, 2, 3].map((stage) => `100644 ${id} ${stage}\tc.o\n`).join("") + `100644 ${id} 0\t${long}.o\n`;
      git(folder, environment, ["update-index", "--index-info"], entries);
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, environment)), [".gitignore", "c.o", "w.ts"]);
    }));

  it("a replaced entry of a split index may become a submodule", () =>
    withRepository({ "sub/inner.ts": "1", "x.ts": "1" }, async ({ folder, environment, run }) => {
      run("update-index", "--add", "sub/inner.ts", "x.ts");
      const id = run("hash-object", "-w", "x.ts").trim();
      git(folder, environment, ["update-index", "--force-remove", "sub/inner.ts"]);
      git(folder, environment, ["update-index", "--index-info"], `100644 ${id} 0\tsub\n`);
      run("config", "splitIndex.maxPercentChange", "100");
      run("update-index", "--split-index");
      git(folder, environment, ["update-index", "--cacheinfo", `160000,${id},sub`]);
      const walk = await checkAgainstGit(folder, environment);
      assert.match(reasonsOf(walk)["sub/"] ?? "", /^submodule/);
    }));
});

function packName(folder: string): string {
  return readdirSync(join(folder, ".git/objects/pack")).find((name) => name.endsWith(".idx")) ?? "";
}

describe("where the repository is", () => {
  it("a linked working tree, and a folder in it", () =>
    withRepository({ ".gitignore": "*.o\n", "s/t.o": "1", "s/a": "1" }, async ({ home, environment, run, write }) => {
      run("add", "-f", ".");
      run("commit", "-qm", "one");
      run("worktree", "add", "-q", join(home, "linked"));
      write({ ".git/info/exclude": "*.log\n" });
      for (const name of ["s/x.o", "s/x.log", "s/x.ts"]) writeFileSync(join(home, "linked", name), "1");
      assert.deepEqual(pathsOf(await checkAgainstGit(join(home, "linked"), environment)), [
        ".gitignore",
        "s/a",
        "s/t.o",
        "s/x.ts",
        "w.ts",
      ]);
      assert.deepEqual(pathsOf(await checkAgainstGit(join(home, "linked/s"), environment)), ["a", "t.o", "x.ts"]);
    }));

  it("a bare repository with working trees beside it has no rules of its own, and the working trees are walked", () =>
    withRepository({ ".gitignore": "*.o\n", "t.o": "1" }, async ({ folder, home, environment, run }) => {
      run("add", "-f", ".");
      run("commit", "-qm", "one");
      const hub = join(home, "hub");
      git(home, environment, ["clone", "-q", "--bare", folder, join(hub, ".git")]);
      git(join(hub, ".git"), environment, ["worktree", "add", "-q", join(hub, "main"), "HEAD"]);
      writeFileSync(join(hub, "main/new.o"), "1");
      writeFileSync(join(hub, "note.ts"), "1");
      assert.deepEqual(pathsOf(await checkAgainstGit(join(hub, "main"), environment)), [".gitignore", "t.o", "w.ts"]);
      const walk = await walkRoot({ folder: hub, prefix: "" }, { environment });
      assert.deepEqual(pathsOf(walk), ["main/.gitignore", "main/t.o", "main/w.ts", "note.ts"]);
    }));

  it("the inside of a .git folder and of a bare repository is ruled by nothing around it", () =>
    withRepository({ ".gitignore": "*\n" }, async ({ folder, environment, run }) => {
      run("init", "-q", "--bare", "bare.git");
      for (const inside of [".git", ".git/info", "bare.git", "bare.git/info"]) {
        assert.equal(findRepository(join(folder, inside)), undefined, inside);
        assert.throws(() => git(join(folder, inside), environment, ["ls-files", "-o"]), /must be run in a work tree/);
      }
      const walk = await walkRoot({ folder: join(folder, "bare.git"), prefix: "" }, { environment });
      assert.ok(pathsOf(walk).includes("HEAD"));
    }));

  it("a .git file that leads nowhere ends the search, as it is an error for git; a .git folder that is none does not", () =>
    withRepository({ ".gitignore": "*.o\n", "s/x.o": "1", "s/x.ts": "1", "n/x.o": "1", "n/.git/x": "1" }, async (place) => {
      const { folder, environment, write } = place;
      for (const content of ["gitdir: ../nowhere\n", "gitdir: \n", "nonsense", ""]) {
        write({ "s/.git": content });
        assert.throws(
          () => git(join(folder, "s"), environment, ["ls-files"]),
          /not a git repository|invalid gitfile|no path in gitfile/,
        );
        assert.deepEqual(pathsOf(await walkRoot({ folder: join(folder, "s"), prefix: "" }, { environment })), ["x.o", "x.ts"]);
      }
      assert.deepEqual(pathsOf(await checkAgainstGit(join(folder, "n"), environment)), []);
      // From outside it is a folder like others.
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, environment)), [".gitignore", "s/x.ts", "w.ts"]);
    }));

  it("a .git file and a commondir file name one path, to their ends", () =>
    withRepository({ ".gitignore": "*.o\n", "x.o": "1" }, async ({ folder, home, environment }) => {
      renameSync(join(folder, ".git"), join(home, "moved\nhere"));
      writeFileSync(join(folder, ".git"), `gitdir: ../moved\nhere\n`);
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, environment)), [".gitignore", "w.ts"]);
      writeFileSync(join(folder, ".git"), "gitdir: ../moved\nelsewhere\n");
      assert.equal(findRepository(folder), undefined);
    }));

  it("a link to a .git folder and to a .git file count; a working tree that is set elsewhere too", () =>
    withRepository({ ".gitignore": "*.o\n", "s/x.o": "1", "s/.gitignore": "*.ts\n", "s/x.ts": "1" }, async (place) => {
      const { folder, home, environment, run } = place;
      renameSync(join(folder, ".git"), join(home, "real"));
      symlinkSync("../real", join(folder, ".git"));
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, environment)), [".gitignore", "s/.gitignore", "w.ts"]);
      rmSync(join(folder, ".git"));
      writeFileSync(join(home, "file"), `gitdir: ${join(home, "real")}\n`);
      symlinkSync("../file", join(folder, ".git"));
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, environment)), [".gitignore", "s/.gitignore", "w.ts"]);
      run("config", "core.worktree", "../w/s");
      assert.equal(findRepository(folder), undefined, "the folder with .git lies outside of the working tree");
      assert.deepEqual(pathsOf(await checkAgainstGit(join(folder, "s"), environment)), [".gitignore", "x.o"]);
    }));

  it("whom the folder belongs to does not matter, because nothing in it is run", () =>
    withRepository({ ".gitignore": "*.o\n", "x.o": "1" }, async ({ folder, environment }) => {
      const { files } = await checkAgainstGit(folder, environment);
      const strange = { ...environment, GIT_TEST_ASSUME_DIFFERENT_OWNER: "1" };
      assert.throws(() => git(folder, strange, ["ls-files"]), /dubious ownership/);
      assert.deepEqual((await walkRoot({ folder, prefix: "" }, { environment: strange })).files, files);
    }));

  it("submodules, opened from outside and inside, and one that was never checked out", () =>
    withRepository({ ".gitignore": "*.o\n" }, async ({ folder, home, environment, run }) => {
      const other = join(home, "other");
      git(home, environment, ["init", "-q", other]);
      writeFileSync(join(other, ".gitignore"), "*.log\n");
      git(other, environment, ["add", "."]);
      git(other, environment, ["commit", "-qm", "one"]);
      run("submodule", "--quiet", "add", other, "lib/sub");
      run("commit", "-qm", "sub");
      for (const name of ["x.o", "x.log", "x.ts"]) writeFileSync(join(folder, "lib/sub", name), "1");
      assert.match(reasonsOf(await checkAgainstGit(folder, environment))["lib/sub/"] ?? "", /^submodule/);
      assert.deepEqual(pathsOf(await checkAgainstGit(join(folder, "lib/sub"), environment)), [".gitignore", "x.o", "x.ts"]);
      const clone = join(home, "clone");
      git(home, environment, ["clone", "-q", folder, clone]);
      assert.ok(existsSync(join(clone, "lib/sub")));
      assert.deepEqual(pathsOf(await checkAgainstGit(clone, environment)), [".gitmodules"]);
    }));
});

describe("rule files", () => {
  it("every named class, and every byte a name can have", () =>
    withRepository({}, async ({ folder, environment, write, run }) => {
      const classes = "alnum alpha blank cntrl digit graph lower print punct space upper xdigit".split(" ");
      const patterns = [...classes.flatMap((name) => [`[[:${name}:]]`, `[![:${name}:]]`]), "[A-Z]", "[ -~]", "[^\\]-a]"];
      write(Object.fromEntries(patterns.map((pattern, at) => [`${at}/.gitignore`, `x${pattern}\n`])));
      const names = Array.from({ length: 255 }, (_, at) => `x${String.fromCharCode(at + 1)}`).filter((name) => name !== "x/");
      const asked = patterns.flatMap((_, at) => names.map((name) => `${at}/${name}`)).join("\0");
      for (const ignoreCase of [false, true]) {
        run("config", "core.ignoreCase", `${ignoreCase}`);
        const ignored = new Set(git(folder, environment, ["check-ignore", "-z", "--stdin"], asked).split("\0"));
        for (const [at, pattern] of patterns.entries()) {
          const list = new RuleList({ base: "", source: "", ignoreCase }, `x${pattern}`);
          for (const name of names) {
            const wanted = ignored.has(`${at}/${name}`);
            assert.equal(list.match("", name, false) !== undefined, wanted, `${pattern} ${name.charCodeAt(1)} ${ignoreCase}`);
          }
        }
      }
    }));

  it("ten thousand rules of every kind decide as git's do", () =>
    withRepository({}, async ({ folder, environment, write }) => {
      const random = seeded(10_000);
      const words = Array.from({ length: 40 }, (_, at) => `w${at}`);
      const word = (): string => pick(random, words);
      const kinds = [
        (): string => word(),
        (): string => `${word()}/`,
        (): string => `/${word()}/${word()}`,
        (): string => `*.${word()}`,
        (): string => `${word()}*`,
        (): string => `**/${word()}/*.${word()}`,
        (): string => `/${word()}/**/${word()}`,
        (): string => `${word()}/?${word()}`,
      ];
      const rules = Array.from({ length: 10_000 }, () => (random() < 0.5 ? "!" : "") + pick(random, kinds)());
      const files: Record<string, string> = { ".gitignore": rules.join("\n") };
      for (let file = 0; file < 400; file++) {
        const folders = Array.from({ length: Math.floor(random() * 4) }, word);
        files[[...folders, `${word()}.${word()}`].join("/")] = "1";
      }
      write(files);
      const walk = await checkAgainstGit(folder, environment);
      assert.ok(walk.files.length > 20 && walk.excluded.length > 20);
    }));

  it("any length of lines, no end of line, and bytes that are no text", () =>
    withRepository({}, async ({ folder, environment }) => {
      const long = "l".repeat(5000);
      writeFileSync(
        join(folder, ".gitignore"),
        Buffer.from(`${long}\n${"?".repeat(3000)}\n*\xff\n\xef\xbb\xbfx\n#\xff\n a\n\ta\nb \x00\nc\x00d\n\x0bf\ne`, "latin1"),
      );
      for (const name of ["a\xff", "x", "\xef\xbb\xbfx", " a", "\ta", "b", "b ", "c", "cd", "e", "\x0bf"]) {
        writeFileSync(Buffer.from(join(folder, name), "latin1"), "1");
      }
      await checkAgainstGit(folder, environment);
    }));
});
