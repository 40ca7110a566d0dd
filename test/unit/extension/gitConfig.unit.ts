/** The part of git's configuration that decides which files there are, compared with git's own reading. Needs git. */
import assert from "node:assert/strict";
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readGitConfig } from "../../../extension/server/gitConfig.ts";
import { findRepository } from "../../../extension/server/gitRepository.ts";
import { walkRoot } from "../../../extension/server/walk.ts";
import { checkAgainstGit, git, pathsOf, withRepository } from "../../support/gitAnswers.ts";
import { pick } from "../../support/gitTrees.ts";
import { seeded } from "../../support/random.ts";

describe("git's configuration", () => {
  it("names the user's ignore file as git says, whatever the syntax", () =>
    withRepository({}, async ({ folder, home, environment }) => {
      const random = seeded(33);
      const place = findRepository(folder);
      assert.ok(place);
      let compared = 0;
      for (let round = 0; round < 120; round++) {
        const text = Array.from(
          { length: 1 + Math.floor(random() * 5) },
          () => pick(random, configLines(folder)) + pick(random, ["\n", "\n", "\r\n"]),
        ).join("");
        writeFileSync(join(home, ".gitconfig"), text);
        let wanted: string | undefined;
        try {
          wanted = git(folder, environment, ["config", "--includes", "--type=path", "--get-all", "core.excludesFile"])
            .split("\n")
            .at(-2);
        } catch (error) {
          // Git refuses the file, or has no value in it.
          if (!/fatal|: $/m.test(String(error))) throw error;
          if (String(error).includes("fatal")) continue;
        }
        compared++;
        const found: string | undefined = readGitConfig(place, environment).excludesFile;
        const absolute =
          wanted === undefined
            ? join(home, ".config/git/ignore")
            : wanted === ""
              ? undefined
              : join(wanted.startsWith("/") ? "" : folder, wanted);
        assert.equal(found, absolute, JSON.stringify(text));
      }
      assert.ok(compared > 40, `${compared} compared`);
    }));

  it("includes files on conditions, as git does", () =>
    withRepository({}, async ({ folder, home, environment, run }) => {
      run("remote", "add", "origin", "https://example.org/team/thing.git");
      run("checkout", "-q", "-b", "feature/one");
      const place = findRepository(folder);
      assert.ok(place);
      writeFileSync(join(home, "extra"), "[core]\n\texcludesFile = /chosen\n");
      symlinkSync(home, join(home, "here"));
      for (const condition of [
        ...[
          "gitdir:w/",
          "gitdir:w",
          "gitdir:**/w/.git",
          "gitdir:~/w/",
          "gitdir:~/W/",
          "gitdir/i:~/W/",
          "gitdir:./w/",
          "gitdir:./x/",
        ],
        ...[
          `gitdir:${home}/`,
          `gitdir:${home}`,
          `gitdir:${home}/*/.git`,
          `gitdir:${home}/here/w/`,
          "gitdir:/**/w/**",
          "gitdir:w/.git",
        ],
        ...["onbranch:feature/one", "onbranch:feature/", "onbranch:feature", "onbranch:*", "onbranch:**", "onbranch:main"],
        ...[
          "hasconfig:remote.*.url:https://example.org/**",
          "hasconfig:remote.*.url:https://other.org/**",
          "hasconfig:remote.*.url:**/thing.git",
        ],
        ...["unknown:x", "gitdir", "", "gitdir:"],
      ]) {
        writeFileSync(join(home, ".gitconfig"), `[includeIf "${condition}"]\n\tpath = extra\n`);
        let wanted = false;
        try {
          wanted = git(folder, environment, ["config", "--includes", "--get", "core.excludesFile"]) === "/chosen\n";
        } catch {
          wanted = false;
        }
        assert.equal(readGitConfig(place, environment).excludesFile === "/chosen", wanted, condition);
      }
    }));

  it("is read from the environment and from the working tree's own file, and what is about the repository from its own alone", () =>
    withRepository({ ".gitignore": "x.TS\n", "x.ts": "1", "y.o": "1" }, async ({ folder, home, environment, run }) => {
      const configured = {
        ...environment,
        GIT_CONFIG_COUNT: "1",
        GIT_CONFIG_KEY_0: "core.excludesFile",
        GIT_CONFIG_VALUE_0: `${home}/rules`,
      };
      writeFileSync(join(home, "rules"), "*.o\n");
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, configured)), [".gitignore", "w.ts", "x.ts"]);
      writeFileSync(
        join(home, ".gitconfig"),
        "[core]\n\tbare = true\n\tworktree = /nowhere\n[extensions]\n\tobjectFormat = sha256\n",
      );
      assert.deepEqual(pathsOf(await walkRoot({ folder, prefix: "" }, { environment })), [".gitignore", "w.ts", "x.ts", "y.o"]);
      rmSync(join(home, ".gitconfig"));
      run("config", "extensions.worktreeConfig", "true");
      run("config", "--worktree", "core.ignoreCase", "true");
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, environment)), [".gitignore", "w.ts", "y.o"]);
    }));

  it("does not say whether case counts: then it does", () =>
    withRepository({ ".gitignore": "X.ts\n", "x.ts": "1" }, async ({ folder, environment, run }) => {
      assert.throws(() => run("config", "core.ignoreCase"));
      assert.deepEqual(pathsOf(await checkAgainstGit(folder, environment)), [".gitignore", "w.ts", "x.ts"]);
    }));
});

function configLines(folder: string): string[] {
  return [
    ...[
      "[core]",
      "[CORE]",
      "[core ]",
      '[core "sub"]',
      "[core.sub]",
      "[other]",
      "# comment",
      "; comment",
      "",
      "\t",
      "[core] excludesFile = /same",
    ],
    ...[
      "\texcludesFile = /one",
      "excludesfile=two",
      "  EXCLUDESFILE  =  three  ",
      'excludesFile = "/with space"',
      'excludesFile = "a;b" ; c',
    ],
    ...[
      "excludesFile = a b  c",
      "excludesFile = ~/mine",
      "excludesFile = ~",
      "excludesFile =",
      "excludesFile = #none",
      "excludesFile = a\\tb",
    ],
    ...[
      'excludesFile = a\\"b\\\\c',
      "excludesFile = long\\",
      'excludesFile = "open',
      "excludesFile = bad\\q",
      "excludesFile : x",
      "[broken",
      "1key = x",
    ],
    ...[
      "excludesFile = ../up",
      `excludesFile = ${folder}/abs`,
      "excludesFile = é",
      "other = x",
      "flag",
      "[core] ignoreCase = true",
    ],
  ];
}
