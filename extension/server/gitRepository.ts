import { accessSync, constants, lstatSync, readlinkSync, realpathSync, type Stats, statSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { type ConfigPlace, type Environment, type GitConfig, readGitConfig, readRepositoryFormat } from "./gitConfig.ts";
import { type GitIndex, noIndex, readGitIndex } from "./gitIndex.ts";
import { type RuleChain, RuleList } from "./ignoreRules.ts";
import { readRegularFile } from "./regularFile.ts";
import { insideOf } from "./roots.ts";

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
  // Git takes what is not set for false; without a repository the habit of the platform's file systems holds.
  const ignoreCase = config.ignoreCase ?? (!place && (process.platform === "win32" || process.platform === "darwin"));
  const index = place ? await readGitIndex(place, config.objectIdBytes, ignoreCase, signal) : noIndex;
  return { place, ignoreCase, precomposeUnicode: config.precomposeUnicode, index, rules: outerRules(place, config, ignoreCase) };
}

/** The repository whose working tree `folder`, a real path, lies in. */
export function findRepository(folder: string): ConfigPlace | undefined {
  const device = statsOf(folder)?.dev;
  for (let at = folder; ; at = dirname(at)) {
    // Git does not look beyond the file system of the folder it starts in.
    if (statsOf(at)?.dev !== device) return undefined;
    const place = repositoryAt(at);
    if (place) return withWorkTree(place, folder);
    // A .git file that leads nowhere is an error for git, and so is the inside of a .git folder or of a bare repository.
    if (statsOf(join(at, ".git"))?.isFile() || isGitFolder(at) || dirname(at) === at) return undefined;
  }
}

/** The repository whose .git lies in `top`: a folder, or a file as a submodule or another working tree has. */
export function repositoryAt(top: string): ConfigPlace | undefined {
  const entry = join(top, ".git");
  const stats = statsOf(entry);
  if (!stats) return undefined;
  const gitFolder = stats.isFile() ? namedFolder(readRegularFile(entry, false), "gitdir: ", top) : entry;
  if (gitFolder === undefined || !isGitFolder(gitFolder)) return undefined;
  return { top, gitFolder, commonFolder: commonFolderOf(gitFolder) };
}

/**
 * The place with the top of its working tree, which its configuration may have moved; undefined where it is bare, or where `folder` lies
 * outside of the working tree.
 */
export function withWorkTree(place: ConfigPlace, folder: string): ConfigPlace | undefined {
  const { isBare, workTree } = readRepositoryFormat(place);
  if (workTree === undefined) return isBare ? undefined : place;
  const top = realPath(resolve(place.gitFolder, workTree));
  return insideOf(top, folder) === undefined ? undefined : { ...place, top };
}

function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    // A link that leads in a circle, or through a folder that may not be looked into.
    return undefined;
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // Nothing lies in a folder that does not exist.
    return path;
  }
}

function commonFolderOf(gitFolder: string): string {
  return namedFolder(readRegularFile(join(gitFolder, "commondir"), false), "", gitFolder) ?? gitFolder;
}

/** The path that is all that the file says behind `prefix`. */
function namedFolder(bytes: Buffer | undefined, prefix: string, relativeTo: string): string | undefined {
  const text = bytes?.toString("utf8").replace(/[\r\n]+$/, "") ?? "";
  if (!text.startsWith(prefix) || text.length === prefix.length) return undefined;
  const name = text.slice(prefix.length);
  return isAbsolute(name) ? name : resolve(relativeTo, name);
}

/** Whether a folder holds what git demands of a repository. */
function isGitFolder(folder: string): boolean {
  if (!hasHead(folder)) return false;
  const common = commonFolderOf(folder);
  return isUsableFolder(join(common, "objects")) && isUsableFolder(join(common, "refs"));
}

function hasHead(gitFolder: string): boolean {
  const path = join(gitFolder, "HEAD");
  try {
    if (lstatSync(path).isSymbolicLink()) return readlinkSync(path).startsWith("refs/");
  } catch {
    return false;
  }
  return /^(ref:\s*refs\/|[0-9a-fA-F]{40})/.test(readRegularFile(path, false)?.toString("latin1") ?? "");
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
  const exclude = place && join(place.commonFolder, "info", "exclude");
  const isInTop = place?.commonFolder === join(place?.top ?? "", ".git");
  const files: [source: string, path: string | undefined][] = [
    [`${config.excludesFile ?? ""} (core.excludesFile)`, config.excludesFile],
    [isInTop ? ".git/info/exclude" : (exclude ?? ""), exclude],
  ];
  for (const [source, path] of files) {
    const bytes = path === undefined ? undefined : readRegularFile(path, false);
    if (!bytes) continue;
    const list = new RuleList({ base: "", source, ignoreCase }, bytes.toString("latin1"));
    if (!list.isEmpty) chain = { list, weaker: chain };
  }
  return chain;
}
