import { accessSync, constants, lstatSync, readlinkSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { type ConfigPlace, type Environment, type GitConfig, readGitConfig, readRegularFile } from "./gitConfig.ts";
import { type GitIndex, noIndex, readGitIndex } from "./gitIndex.ts";
import { type RuleChain, RuleList } from "./ignoreRules.ts";

/** What of a repository decides which files a walk finds; also stands for "no repository", where `place` is undefined. */
export interface Repository {
  place: ConfigPlace | undefined;
  ignoreCase: boolean;
  precomposeUnicode: boolean;
  index: GitIndex;
  /** Rules that hold everywhere in it, weaker than every .gitignore. */
  rules: RuleChain | undefined;
}

/** Rules of our own, the weakest: any ignore file may say otherwise, and so does a file that git tracks. */
export const builtInSource = "built in";

/** Reads the rules and the index of the repository at `place`; without one, only what holds for the user everywhere. */
export async function openRepository(
  place: ConfigPlace | undefined,
  environment: Environment,
  signal?: AbortSignal,
): Promise<Repository> {
  const config = readGitConfig(place, environment);
  const ignoreCase = config.ignoreCase ?? (process.platform === "win32" || process.platform === "darwin");
  const index = place ? await readGitIndex(place.gitFolder, config.objectIdBytes, ignoreCase, signal) : noIndex;
  return { place, ignoreCase, precomposeUnicode: config.precomposeUnicode, index, rules: outerRules(place, config, ignoreCase) };
}

/** The repository whose working tree `folder` lies in. */
export function findRepository(folder: string): ConfigPlace | undefined {
  const device = statSync(folder, { throwIfNoEntry: false })?.dev;
  for (let at = folder; ; at = dirname(at)) {
    // Git does not look beyond the file system of the folder it starts in.
    if (statSync(at, { throwIfNoEntry: false })?.dev !== device) return undefined;
    const place = repositoryAt(at);
    if (place) return place;
    if (dirname(at) === at || lstatSync(join(at, ".git"), { throwIfNoEntry: false })?.isFile()) return undefined;
  }
}

/** The repository whose working tree begins at `top`: a .git folder, or a .git file as a submodule or another worktree has. */
export function repositoryAt(top: string): ConfigPlace | undefined {
  const entry = join(top, ".git");
  const stats = statSync(entry, { throwIfNoEntry: false });
  if (!stats) return undefined;
  const gitFolder = stats.isFile() ? namedFolder(readRegularFile(entry, false), /^gitdir: ([^\n\r]+)/, top) : entry;
  if (gitFolder === undefined) return undefined;
  const commonFolder = namedFolder(readRegularFile(join(gitFolder, "commondir"), false), /^([^\n\r]+)/, gitFolder) ?? gitFolder;
  if (!hasHead(gitFolder) || !isUsableFolder(join(commonFolder, "objects")) || !isUsableFolder(join(commonFolder, "refs"))) {
    return undefined;
  }
  return { top, gitFolder, commonFolder };
}

function namedFolder(bytes: Buffer | undefined, wanted: RegExp, relativeTo: string): string | undefined {
  const name = wanted.exec(bytes?.toString("utf8") ?? "")?.[1];
  if (name === undefined) return undefined;
  return isAbsolute(name) ? name : resolve(relativeTo, name);
}

function hasHead(gitFolder: string): boolean {
  const path = join(gitFolder, "HEAD");
  try {
    if (lstatSync(path).isSymbolicLink()) return readlinkSync(path).startsWith("refs/");
  } catch {
    return false;
  }
  return /^(ref:\s*refs\/|[0-9a-f]{40})/.test(readRegularFile(path, false)?.toString("latin1") ?? "");
}

function isUsableFolder(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function outerRules(place: ConfigPlace | undefined, config: GitConfig, ignoreCase: boolean): RuleChain | undefined {
  const builtIn = new RuleList({ base: "", source: builtInSource, ignoreCase }, "node_modules/");
  let chain: RuleChain = { list: builtIn };
  const files: [source: string, path: string | undefined][] = [
    [`${config.excludesFile ?? ""} (core.excludesFile)`, config.excludesFile],
    [".git/info/exclude", place && join(place.commonFolder, "info", "exclude")],
  ];
  for (const [source, path] of files) {
    const bytes = path === undefined ? undefined : readRegularFile(path, false);
    if (!bytes) continue;
    const list = new RuleList({ base: "", source, ignoreCase }, bytes.toString("latin1"));
    if (!list.isEmpty) chain = { list, weaker: chain };
  }
  return chain;
}
