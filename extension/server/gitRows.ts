import { secretName } from "./secrets.ts";
import { type GitOutput, runGit } from "./runGit.ts";

/** A piece of git's knowledge that can go into a pack like a file. */
export interface GitRow {
  path: "git:worktree" | "git:staged" | "git:branch" | "git:log";
  name: string;
  /** What goes into the pack; empty where there is nothing to show. */
  text: string;
  /** One line: what it shows, or why it is empty. */
  reason: string;
}

export interface GitRowOptions {
  /** Commits whose messages the log row shows; 0: none. */
  commits: number;
  /** Whether the user trusts the workspace: git reads configuration that can name programs, so it is not run where they do not. */
  trusted: boolean;
  /** The text of one row is cut, visibly, at this many bytes; by default 2 MiB. */
  maxBytes?: number;
  /** Each run of git is stopped after this; by default 10 s. */
  timeoutMs?: number;
  /** Program to run as git: its name or absolute path; by default the one on the PATH. */
  gitPath?: string;
  signal?: AbortSignal;
}

const mebibyte = 1024 * 1024;

const names: Readonly<Record<GitRow["path"], string>> = {
  "git:worktree": "Working tree changes",
  "git:staged": "Staged changes",
  "git:branch": "Branch changes",
  "git:log": "Recent commits",
};

/**
 * The four git rows of a workspace folder, always in this order: changes not staged, changes staged, the branch against its base, and the last
 * commits' messages. Only what lies below the folder, with paths as the workspace shows them. Files whose name tells of a secret are left out of diffs
 * and named in the text; what the texts themselves hold is for the caller to scan. Whatever keeps git from answering (no repository, no
 * git, no commits, an untrusted workspace) is the reason of an empty row, not an error. Throws only `aborted`.
 */
export async function gitRows(root: string, options: GitRowOptions): Promise<GitRow[]> {
  if (!options.trusted) return emptyRows("git is not run in a workspace that is not trusted");
  const git = gitIn(root, options);
  const place = await git.ask(["rev-parse", "--is-inside-work-tree", "--show-prefix"]);
  if ("reason" in place) return emptyRows(/not a git repository/i.test(place.reason) ? "not a git repository" : place.reason);
  const [inside, prefix = ""] = place.output.toString("utf8").split("\n");
  if (inside !== "true") return emptyRows("a repository without a working tree");
  const head = await commitOf(git, "HEAD");
  return Promise.all([
    diffRow(git, "git:worktree", [], "changes that are not staged", "no changes to tracked files that are not staged"),
    diffRow(git, "git:staged", ["--cached"], "changes that are staged", "nothing is staged"),
    branchRow(git, head),
    logRow(git, head, options.commits, prefix !== ""),
  ]);
}

interface Git {
  /** A small answer: names, one commit. */
  ask: (args: readonly string[]) => Promise<GitOutput>;
  /** The text of a row, cut at the options' limit. */
  show: (args: readonly string[]) => Promise<GitOutput>;
}

function gitIn(root: string, options: GitRowOptions): Git {
  const { timeoutMs = 10_000, maxBytes = 2 * mebibyte, signal, gitPath } = options;
  return {
    ask: (args) => runGit(root, args, { timeoutMs, maxBytes: 4 * mebibyte, signal, gitPath }),
    show: (args) => runGit(root, args, { timeoutMs, maxBytes, signal, gitPath }),
  };
}

function row(path: GitRow["path"], text: string, reason: string): GitRow {
  return { path, name: names[path], text, reason };
}

function emptyRows(reason: string): GitRow[] {
  return (["git:worktree", "git:staged", "git:branch", "git:log"] as const).map((path) => row(path, "", reason));
}

/** Fixed where configuration could choose: the same text on every machine, no program started, nothing fetched. */
const diffOptions = [
  "--no-ext-diff",
  "--no-textconv",
  "--no-color",
  "--relative",
  "--unified=3",
  "--inter-hunk-context=0",
  "--src-prefix=a/",
  "--dst-prefix=b/",
  "--submodule=short",
  // Looking into a submodule would run git with that submodule's configuration.
  "--ignore-submodules=dirty",
];

/** A diff as a row; `what` are the revisions and options that say of what. */
async function diffRow(git: Git, path: GitRow["path"], what: readonly string[], full: string, empty: string): Promise<GitRow> {
  // Without renames both paths of a moved file are listed, and a moved secret is not shown as a change of its new name.
  const listed = await git.ask(["diff", ...diffOptions, "--no-renames", "--name-only", "-z", ...what, "--", "."]);
  if ("reason" in listed) return row(path, "", listed.reason);
  if (listed.output.length === 0) return row(path, "", empty);
  if (listed.cut) return row(path, "", "too many changed files to list");
  const changed = [...new Set(listed.output.toString("utf8").split("\0").slice(0, -1))];
  const withheld = changed.flatMap((file) => {
    const reason = secretName(file);
    return reason === undefined ? [] : [{ file, reason }];
  });
  // Hundreds of excluded paths would not fit on a command line.
  if (withheld.length > 500) return row(path, "", `${withheld.length} of the changed files may hold secrets by their names`);
  const paths = [".", ...withheld.map(({ file }) => `:(exclude,literal)${file}`)];
  const renames = withheld.length === 0 ? "--find-renames" : "--no-renames";
  const diff = await git.show(["diff", ...diffOptions, renames, ...what, "--", ...paths]);
  if ("reason" in diff) return row(path, "", diff.reason);
  const notes = withheld.map(({ file, reason }) => `(left out: ${JSON.stringify(file)}, ${reason})\n`).join("");
  const files = counted(changed.length, "file");
  const left = withheld.length === 0 ? "" : `, ${withheld.length} of them left out by name`;
  return row(path, notes + shownText(diff), `${full}: ${files}${left}${diff.cut ? "; cut, because it is too long" : ""}`);
}

async function branchRow(git: Git, head: string | undefined): Promise<GitRow> {
  if (head === undefined) return row("git:branch", "", "no commits yet");
  const passed: string[] = [];
  for (const candidate of ["@{upstream}", "refs/remotes/origin/HEAD", "refs/heads/main", "refs/heads/master"]) {
    const commit = await commitOf(git, candidate);
    if (commit === undefined) continue;
    const name = await nameOf(git, candidate);
    const base = await lineOf(git, ["merge-base", commit, head]);
    // A branch that is pushed has nothing on its upstream: what it was begun from says more.
    if (base === undefined || base === head) {
      if (!passed.includes(name)) passed.push(name);
      continue;
    }
    const ahead = counted(Number((await lineOf(git, ["rev-list", "--count", `${base}..${head}`])) ?? "0"), "commit");
    const full = `${ahead} since the branch left ${name}`;
    return diffRow(git, "git:branch", [base, head], full, `${full}, which change nothing here`);
  }
  const reason =
    passed.length === 0
      ? "no base: there is no upstream, origin/HEAD, main or master"
      : `no commits of its own against ${passed.join(", ")}`;
  return row("git:branch", "", reason);
}

async function logRow(git: Git, head: string | undefined, commits: number, below: boolean): Promise<GitRow> {
  if (commits <= 0) return row("git:log", "", "no commits are asked for");
  if (head === undefined) return row("git:log", "", "no commits yet");
  const format = "--format=commit %h %ad%n%n%w(0,4,4)%B";
  const args = ["log", `--max-count=${Math.floor(commits)}`, format, "--date=short", "--no-color", "--no-decorate"];
  const log = await git.show([
    ...args,
    "--no-show-signature",
    "--no-notes",
    "--encoding=UTF-8",
    head,
    ...(below ? ["--", "."] : []),
  ]);
  if ("reason" in log) return row("git:log", "", log.reason);
  const text = shownText(log);
  if (text === "") return row("git:log", "", "no commit changes anything in this folder");
  const many = counted(text.split(/^commit [0-9a-f]+ \d{4}-/m).length - 1, "commit message");
  return row("git:log", text, `the last ${many}${log.cut ? "; cut, because it is too long" : ""}`);
}

/** The text of an output: bytes that are not UTF-8 replaced, and where it was cut, a line that says so after the last whole one. */
function shownText(output: Exclude<GitOutput, { reason: string }>): string {
  const bytes = output.cut ? output.output.subarray(0, output.output.lastIndexOf(0x0a) + 1) : output.output;
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  return output.cut ? `${text}(cut here: longer than ${output.output.length.toLocaleString("en")} bytes)\n` : text;
}

/** The commit that a name stands for; undefined where there is none. */
function commitOf(git: Git, name: string): Promise<string | undefined> {
  return lineOf(git, ["rev-parse", "--verify", "--quiet", `${name}^{commit}`]);
}

/** `@{upstream}` as the user knows it: origin/main. */
async function nameOf(git: Git, name: string): Promise<string> {
  return (await lineOf(git, ["rev-parse", "--abbrev-ref", name])) ?? name;
}

async function lineOf(git: Git, args: readonly string[]): Promise<string | undefined> {
  const answer = await git.ask(args);
  if ("reason" in answer || answer.exitCode !== 0) return undefined;
  const line = answer.output.toString("utf8").trimEnd();
  return line === "" ? undefined : line;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
