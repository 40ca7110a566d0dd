import { execFile } from "node:child_process";
import { dirname } from "node:path";
import { abortedError } from "../../engine/errors.ts";

export interface GitLimits {
  /** Longer runs are stopped. */
  timeoutMs: number;
  /** More output is cut off. */
  maxBytes: number;
  signal?: AbortSignal;
  /** Program to run instead of the `git` on the PATH: its name or absolute path. */
  gitPath?: string;
}

/** Output as bytes (paths and files may be in any encoding), or why there is none, in words. */
export type GitOutput = { output: Buffer; cut: boolean; exitCode: number } | { reason: string };

/** What a repository's or a user's configuration could make git start or change while it only reads. */
const quietConfig = [
  ["core.fsmonitor", ""],
  ["core.hooksPath", "/dev/null"],
  ["core.quotePath", "false"],
  ["diff.external", ""],
  ["log.showSignature", "false"],
  ["protocol.allow", "never"],
] as const;

/**
 * Runs one reading git command below `root`, without a shell. Hooks, file system monitors, pagers, prompts, locks and every transport are off, and
 * environment variables that point git elsewhere are dropped. What stays as configured are clean filters (git-lfs): a diff needs them, so this is
 * only for trusted workspaces. A non-zero exit code is output, not a failure. Throws `aborted`.
 */
export function runGit(root: string, args: readonly string[], limits: GitLimits): Promise<GitOutput> {
  const { timeoutMs, maxBytes, signal } = limits;
  if (signal?.aborted) return Promise.reject(abortedError());
  const config = quietConfig.flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const all = ["--no-pager", "--no-optional-locks", ...config, "-C", root, ...args];
  const options = {
    // Windows looks for the program in the current folder first: not in one that a repository fills.
    cwd: dirname(process.execPath),
    env: gitEnvironment(process.env),
    encoding: "buffer" as const,
    maxBuffer: maxBytes,
    timeout: timeoutMs,
    killSignal: "SIGKILL" as const,
    signal,
    windowsHide: true,
  };
  return new Promise((resolve, reject) => {
    execFile(limits.gitPath ?? "git", all, options, (error, output, messages) => {
      if (!error) resolve({ output, cut: false, exitCode: 0 });
      else if (signal?.aborted) reject(abortedError());
      else if (error.code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") resolve({ output, cut: true, exitCode: 0 });
      else if (error.code === "ENOENT") resolve({ reason: "git is not installed, or not on the PATH" });
      else if (error.killed) resolve({ reason: `git did not finish within ${timeoutMs / 1000} s` });
      else if (typeof error.code === "number") resolve(failedOutput(output, messages, error.code));
      else resolve({ reason: `git could not be run (${error.code ?? error.signal ?? error.message})` });
    });
  });
}

/** Exit code 1 is an answer ("no such revision"); 128 and more are git's own failures, told by the first line of its message. */
function failedOutput(output: Buffer, messages: Buffer, exitCode: number): GitOutput {
  if (exitCode < 128) return { output, cut: false, exitCode };
  const first =
    messages
      .toString("utf8")
      .split("\n", 1)[0]
      ?.replace(/^fatal: /, "") ?? "";
  return { reason: first === "" ? `git failed with exit code ${exitCode}` : `git refused: ${first}` };
}

/** The environment without the variables that tell git of another repository, configuration or program. */
function gitEnvironment(from: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(from).filter(([name]) => !name.toUpperCase().startsWith("GIT_"));
  return {
    ...Object.fromEntries(kept),
    LC_ALL: "C",
    LANGUAGE: "",
    GIT_TERMINAL_PROMPT: "0",
    GIT_OPTIONAL_LOCKS: "0",
    // A partial clone would fetch what it lacks: nothing of ours talks to another machine. The second holds for versions before 2.45 too.
    GIT_NO_LAZY_FETCH: "1",
    GIT_ALLOW_PROTOCOL: "none",
  };
}
