import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { type GitRow, type GitRowOptions, gitRows } from "../../../extension/server/gitRows.ts";
import { withTempTree } from "../../support/tempTree.ts";

/** Git as the tests use it to build repositories: no configuration of this machine, one date. */
function git(folder: string, ...args: string[]): string {
  const env = {
    ...process.env,
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_AUTHOR_DATE: "2024-05-06T07:08:09Z",
    GIT_COMMITTER_DATE: "2024-05-06T07:08:09Z",
  };
  const identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "protocol.file.allow=always"];
  return execFileSync("git", [...identity, ...args], { cwd: folder, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

async function write(folder: string, files: Record<string, string | Uint8Array>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
}

function commit(folder: string, message: string): void {
  git(folder, "add", "--all");
  git(folder, "commit", "--quiet", "--message", message);
}

/** Gives the last commit a signature, so that showing it could start a program that checks it. */
function sign(folder: string): void {
  const plain = git(folder, "cat-file", "commit", "HEAD");
  const signature = ["-----BEGIN PGP SIGNATURE-----", "", "aaaa", "-----END PGP SIGNATURE-----"].join("\n ");
  const signed = plain.replace("\n\n", `\ngpgsig ${signature}\n\n`);
  const hash = execFileSync("git", ["hash-object", "-t", "commit", "-w", "--stdin"], {
    cwd: folder,
    input: signed,
    encoding: "utf8",
  });
  git(folder, "update-ref", "HEAD", hash.trim());
}

/** A repository on branch main whose files are committed. */
async function withRepository(files: Record<string, string | Uint8Array>, use: (folder: string) => Promise<void>): Promise<void> {
  await withTempTree(files, async (folder) => {
    git(folder, "init", "--quiet", "--initial-branch=main");
    commit(folder, "first");
    await use(folder);
  });
}

async function rowsOf(folder: string, options: Partial<GitRowOptions> = {}): Promise<Record<GitRow["path"], GitRow>> {
  const rows = await gitRows(folder, { commits: 10, trusted: true, ...options });
  assert.deepEqual(
    rows.map(({ path }) => path),
    ["git:worktree", "git:staged", "git:branch", "git:log"],
  );
  const [worktree, staged, branch, log] = rows;
  assert.ok(worktree && staged && branch && log);
  return { "git:worktree": worktree, "git:staged": staged, "git:branch": branch, "git:log": log };
}

function assertEmpty(rows: Record<GitRow["path"], GitRow>, reason: RegExp): void {
  for (const row of Object.values(rows)) {
    assert.equal(row.text, "");
    assert.match(row.reason, reason);
  }
}

describe("the rows of a repository", () => {
  it("show what is changed, what is staged, and the last messages", () =>
    withRepository({ "src/a.ts": "one\ntwo\n", "src/b.ts": "b\n", "new name.ts": "x\n" }, async (folder) => {
      await write(folder, { "src/a.ts": "one\nthree\n", "src/b.ts": "staged\n", "untracked.ts": "u\n" });
      git(folder, "add", "src/b.ts");
      const rows = await rowsOf(folder);
      assert.match(rows["git:worktree"].text, /^diff --git a\/src\/a\.ts b\/src\/a\.ts$/m);
      assert.match(rows["git:worktree"].text, /^-two\n\+three$/m);
      assert.doesNotMatch(rows["git:worktree"].text, /src\/b\.ts|untracked/);
      assert.equal(rows["git:worktree"].reason, "changes that are not staged: 1 file");
      assert.match(rows["git:staged"].text, /^-b\n\+staged$/m);
      assert.doesNotMatch(rows["git:staged"].text, /src\/a\.ts/);
      assert.match(rows["git:log"].text, /^commit [0-9a-f]{7,} 2024-05-06\n\n {4}first\n/);
      assert.equal(rows["git:log"].reason, "the last 1 commit message");
      assert.equal(rows["git:worktree"].name, "Working tree changes");
    }));

  it("that have nothing to show say so", () =>
    withRepository({ "a.ts": "a\n" }, async (folder) => {
      const rows = await rowsOf(folder);
      assert.equal(rows["git:worktree"].text, "");
      assert.match(rows["git:worktree"].reason, /no changes/);
      assert.match(rows["git:staged"].reason, /nothing is staged/);
      assert.match(rows["git:branch"].reason, /no commits of its own against main/);
    }));

  it("hold as many messages as asked for, the newest first, bodies included", () =>
    withRepository({ "a.ts": "0\n" }, async (folder) => {
      for (const count of [1, 2, 3]) {
        await write(folder, { "a.ts": `${count}\n` });
        commit(folder, `change ${count}\n\ncommit 1234567 2024-01-01 is no heading in a body\nBody of ${count}`);
      }
      const two = await rowsOf(folder, { commits: 2 });
      assert.match(two["git:log"].text, /change 3[^]*Body of 3[^]*change 2/);
      assert.doesNotMatch(two["git:log"].text, /change 1/);
      assert.equal(two["git:log"].reason, "the last 2 commit messages");
      const none = await rowsOf(folder, { commits: 0 });
      assert.equal(none["git:log"].text, "");
      assert.match(none["git:log"].reason, /no commits are asked for/);
    }));

  it("have paths with blanks, quotes, line breaks and other scripts", () =>
    withRepository(
      { "a b.ts": "1\n", 'q"uote.ts': "1\n", "new\nline.ts": "1\n", "żółw.ts": "1\n", ":(top)x.ts": "1\n" },
      async (folder) => {
        await write(folder, {
          "a b.ts": "2\n",
          'q"uote.ts': "2\n",
          "new\nline.ts": "2\n",
          "żółw.ts": "2\n",
          ":(top)x.ts": "2\n",
        });
        const { text, reason } = (await rowsOf(folder))["git:worktree"];
        assert.match(reason, /5 files/);
        for (const part of ["a/a b.ts", 'a/q\\"uote.ts', "a/new\\nline.ts", "a/żółw.ts", "a/:(top)x.ts"])
          assert.ok(text.includes(part), part);
      },
    ));

  it("name binary files without their content, and replace bytes that are not UTF-8", () =>
    withRepository({ "a.bin": Uint8Array.of(0, 1, 2), "latin.txt": "caf\n" }, async (folder) => {
      await write(folder, { "a.bin": Uint8Array.of(0, 9, 9, 9), "latin.txt": Uint8Array.of(0x63, 0xe9, 0x0a) });
      const { text } = (await rowsOf(folder))["git:worktree"];
      assert.match(text, /^Binary files a\/a\.bin and b\/a\.bin differ$/m);
      assert.match(text, /^\+c\uFFFD$/m);
    }));

  it("are cut at the limit, with a line that says so", () =>
    withRepository({ "a.ts": "" }, async (folder) => {
      await write(folder, { "a.ts": "a line of text\n".repeat(10_000) });
      const { text, reason } = (await rowsOf(folder, { maxBytes: 5_000 }))["git:worktree"];
      assert.ok(Buffer.byteLength(text) < 5_100);
      assert.match(text, /\+a line of text\n\(cut here: longer than 5,000 bytes\)\n$/);
      assert.match(reason, /cut, because it is too long/);
      assert.doesNotMatch((await rowsOf(folder))["git:worktree"].reason, /cut/);
    }));

  it("of a folder inside the repository show what is below it, by its own paths", () =>
    withRepository({ "web/src/a.ts": "1\n", "api/b.ts": "1\n" }, async (folder) => {
      await write(folder, { "api/b.ts": "2\n" });
      commit(folder, "only the api");
      await write(folder, { "web/src/a.ts": "2\n", "api/b.ts": "3\n" });
      const rows = await rowsOf(join(folder, "web"));
      assert.match(rows["git:worktree"].text, /^diff --git a\/src\/a\.ts b\/src\/a\.ts$/m);
      assert.doesNotMatch(rows["git:worktree"].text, /b\.ts/);
      assert.match(rows["git:log"].text, /first/);
      assert.doesNotMatch(rows["git:log"].text, /only the api/);
    }));

  it("leave out and name files whose name tells of a secret", () =>
    withRepository({ "a.ts": "1\n", ".env": "A=1\n", "keys/id_rsa": "old\n" }, async (folder) => {
      await write(folder, { "a.ts": "2\n", ".env": "A=hunter2\n" });
      git(folder, "mv", "keys/id_rsa", "notes.txt");
      const rows = await rowsOf(folder);
      assert.match(rows["git:worktree"].text, /^\(left out: "\.env", environment files/);
      assert.match(rows["git:worktree"].text, /a\/a\.ts/);
      assert.doesNotMatch(rows["git:worktree"].text, /hunter2/);
      assert.match(rows["git:worktree"].reason, /2 files, 1 of them left out by name/);
      assert.match(rows["git:staged"].text, /^\(left out: "keys\/id_rsa", a private SSH key/);
    }));
});

describe("the branch row", () => {
  it("compares with main where there is nothing else", () =>
    withRepository({ "a.ts": "1\n" }, async (folder) => {
      git(folder, "checkout", "--quiet", "-b", "feature");
      await write(folder, { "b.ts": "branch\n" });
      commit(folder, "second");
      git(folder, "checkout", "--quiet", "main");
      await write(folder, { "a.ts": "main moved on\n" });
      commit(folder, "third");
      git(folder, "checkout", "--quiet", "feature");
      const { text, reason } = (await rowsOf(folder))["git:branch"];
      assert.match(text, /^\+branch$/m);
      assert.doesNotMatch(text, /main moved on/);
      assert.equal(reason, "1 commit since the branch left main: 1 file");
    }));

  it("prefers the upstream, then origin/HEAD; a pushed branch is compared with what it came from", () =>
    withRepository({ "a.ts": "1\n" }, (origin) =>
      withTempTree({}, async (place) => {
        git(place, "clone", "--quiet", origin, "copy");
        const folder = join(place, "copy");
        await write(folder, { "a.ts": "2\n" });
        commit(folder, "ahead of the upstream");
        assert.match((await rowsOf(folder))["git:branch"].reason, /1 commit since the branch left origin\/main/);
        git(folder, "checkout", "--quiet", "-b", "feature");
        git(folder, "branch", "--quiet", "--delete", "--force", "main");
        assert.match((await rowsOf(folder))["git:branch"].reason, /1 commit since the branch left origin\/main/);
        git(folder, "push", "--quiet", "--set-upstream", "origin", "feature");
        assert.match((await rowsOf(folder))["git:branch"].reason, /1 commit since the branch left origin\/main/);
        await write(folder, { "a.ts": "3\n" });
        commit(folder, "ahead of the pushed branch");
        assert.match((await rowsOf(folder))["git:branch"].reason, /1 commit since the branch left origin\/feature/);
      }),
    ));

  it("works on a detached HEAD, and says so where there is no base", () =>
    withRepository({ "a.ts": "1\n" }, async (folder) => {
      await write(folder, { "a.ts": "2\n" });
      commit(folder, "second");
      git(folder, "checkout", "--quiet", "--detach");
      await write(folder, { "a.ts": "3\n" });
      commit(folder, "third");
      assert.match((await rowsOf(folder))["git:branch"].text, /^-2\n\+3$/m);
      git(folder, "branch", "--quiet", "--delete", "--force", "main");
      const rows = await rowsOf(folder);
      assert.match(rows["git:branch"].reason, /no base: there is no upstream/);
      assert.match(rows["git:log"].text, /third[^]*second[^]*first/);
    }));

  it("shows a moved submodule as one line and does not look into it", () =>
    withRepository({ "lib.ts": "1\n" }, (library) =>
      withRepository({ "a.ts": "1\n" }, async (folder) => {
        git(folder, "checkout", "--quiet", "-b", "feature");
        git(folder, "submodule", "--quiet", "add", library, "lib");
        commit(folder, "with a library");
        await write(folder, { "lib/lib.ts": "dirty\n" });
        const rows = await rowsOf(folder);
        assert.match(rows["git:branch"].text, /^\+Subproject commit [0-9a-f]{40}$/m);
        assert.equal(rows["git:worktree"].text, "");
        await write(folder, { "lib/lib.ts": "2\n" });
        commit(join(folder, "lib"), "moved");
        assert.match((await rowsOf(folder))["git:worktree"].text, /^\+Subproject commit/m);
      }),
    ));
});

describe("without an answer from git the rows say why", () => {
  it("before the first commit", () =>
    withTempTree({ "a.ts": "1\n" }, async (folder) => {
      git(folder, "init", "--quiet", "--initial-branch=main");
      git(folder, "add", "a.ts");
      const rows = await rowsOf(folder);
      assert.match(rows["git:staged"].text, /^\+1$/m);
      assert.match(rows["git:branch"].reason, /no commits yet/);
      assert.match(rows["git:log"].reason, /no commits yet/);
    }));

  it("outside a repository, in a bare one and where there is no folder", () =>
    withTempTree({ "a.ts": "1\n" }, async (folder) => {
      assertEmpty(await rowsOf(folder), /^not a git repository$/);
      git(folder, "init", "--quiet", "--bare", "bare");
      assertEmpty(await rowsOf(join(folder, "bare")), /without a working tree/);
      assertEmpty(await rowsOf(join(folder, "missing")), /git refused: cannot change to/);
    }));

  it("without a git program", () =>
    withRepository({ "a.ts": "1\n" }, async (folder) => {
      assertEmpty(await rowsOf(folder, { gitPath: join(folder, "no-git") }), /git is not installed/);
    }));

  it("when git takes too long", () =>
    withRepository({ "slow-git": "#!/bin/sh\nexec sleep 60\n" }, async (folder) => {
      await chmod(join(folder, "slow-git"), 0o755);
      assertEmpty(await rowsOf(folder, { gitPath: join(folder, "slow-git"), timeoutMs: 50 }), /did not finish within 0.05 s/);
    }));

  it("in an untrusted workspace, where git is not started at all", () =>
    withRepository({ "spy-git": '#!/bin/sh\ntouch "$(dirname "$0")/started"\n' }, async (folder) => {
      await chmod(join(folder, "spy-git"), 0o755);
      const gitPath = join(folder, "spy-git");
      assertEmpty(await rowsOf(folder, { gitPath, trusted: false }), /not trusted/);
      await assert.rejects(stat(join(folder, "started")));
      await rowsOf(folder, { gitPath });
      await stat(join(folder, "started"));
    }));

  it("and stopping it is an error", () =>
    withRepository({ "slow-git": "#!/bin/sh\nexec sleep 60\n" }, async (folder) => {
      await chmod(join(folder, "slow-git"), 0o755);
      const stopped = (error: unknown): boolean => EngineError.is(error, "aborted");
      await assert.rejects(gitRows(folder, { commits: 1, trusted: true, signal: AbortSignal.abort() }), stopped);
      const controller = new AbortController();
      const rows = gitRows(folder, { commits: 1, trusted: true, signal: controller.signal, gitPath: join(folder, "slow-git") });
      controller.abort();
      await assert.rejects(rows, stopped);
    }));
});

it("nothing that the repository's configuration names is started, and nothing is written", () =>
  withRepository(
    { ".gitattributes": "*.ts diff=spy\n", "a.ts": "1\n", spy: '#!/bin/sh\necho "$@" >> "$(dirname "$0")/started"\n' },
    async (folder) => {
      const spy = join(folder, "spy");
      await chmod(spy, 0o755);
      await mkdir(join(folder, "hooks"));
      await writeFile(join(folder, "hooks", "post-index-change"), `#!/bin/sh\n${spy} hook\n`, { mode: 0o755 });
      for (const name of [
        "core.fsmonitor",
        "diff.external",
        "diff.spy.command",
        "diff.spy.textconv",
        "core.pager",
        "gpg.program",
      ])
        git(folder, "config", name, spy);
      git(folder, "config", "log.showSignature", "true");
      git(folder, "config", "core.hooksPath", join(folder, "hooks"));
      git(folder, "config", "diff.noprefix", "true");
      await write(folder, { "a.ts": "2\n" });
      sign(folder);
      const index = await readFile(join(folder, ".git", "index"));
      const external = process.env.GIT_EXTERNAL_DIFF;
      process.env.GIT_EXTERNAL_DIFF = spy;
      try {
        const rows = await rowsOf(folder);
        assert.match(rows["git:worktree"].text, /^diff --git a\/a\.ts b\/a\.ts$/m);
        assert.match(rows["git:log"].text, /first/);
      } finally {
        if (external === undefined) delete process.env.GIT_EXTERNAL_DIFF;
        else process.env.GIT_EXTERNAL_DIFF = external;
      }
      await assert.rejects(stat(join(folder, "started")), "the repository's program was started");
      assert.deepEqual(await readFile(join(folder, ".git", "index")), index);
      // The same repository does start them where nothing is switched off: the check above can fail.
      git(folder, "diff");
      git(folder, "log");
      const started = await readFile(join(folder, "started"), "utf8");
      assert.match(started, /--verify/, "no signature was checked");
      assert.match(started, /a\.ts/, "no diff program was started");
    },
  ));
