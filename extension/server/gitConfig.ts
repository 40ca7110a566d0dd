import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";

/** Where a repository keeps what decides which files are its own. */
export interface Repository {
  /** Top of the working tree. */
  top: string;
  /** Folder of this working tree's index. */
  gitFolder: string;
  /** Folder of info/exclude, shared by all working trees. */
  commonFolder: string;
  /** Text and place of the user's own excludes file, where there is one. */
  globalExcludes: { source: string; text: string } | undefined;
  ignoreCase: boolean;
  /** Bytes of an object name in the index. */
  hashBytes: number;
}

/** The repository whose working tree holds a folder; undefined outside of one. Files are read, nothing is run. */
export async function findRepository(folder: string): Promise<Repository | undefined> {
  for (let top = folder; ; top = dirname(top)) {
    const gitFolder = await gitFolderOf(top);
    if (gitFolder !== undefined) return describe(top, gitFolder);
    if (dirname(top) === top) return undefined;
  }
}

async function describe(top: string, gitFolder: string): Promise<Repository> {
  const common = (await readText(join(gitFolder, "commondir")))?.trim();
  const commonFolder = common === undefined ? gitFolder : resolve(gitFolder, common);
  const home = process.env.HOME ?? homedir();
  const configHome = process.env.XDG_CONFIG_HOME || join(home, ".config");
  const globals = process.env.GIT_CONFIG_GLOBAL
    ? [process.env.GIT_CONFIG_GLOBAL]
    : [join(configHome, "git", "config"), join(home, ".gitconfig")];
  const config = new Map<string, string>();
  for (const file of [...globals, join(commonFolder, "config")]) {
    for (const [key, value] of readConfig((await readText(file)) ?? "")) config.set(key, value);
  }
  const named = config.get("core.excludesfile");
  const path = named === undefined ? join(configHome, "git", "ignore") : named.replace(/^~(?=\/|$)/, home);
  const text = path === "" ? undefined : await readText(isAbsolute(path) ? path : join(top, path));
  return {
    top,
    gitFolder,
    commonFolder,
    globalExcludes: text === undefined ? undefined : { source: named ?? "~/.config/git/ignore", text },
    ignoreCase: isTrue(config.get("core.ignorecase")),
    hashBytes: config.get("extensions.objectformat") === "sha256" ? 32 : 20,
  };
}

/** `.git` is a folder, or in linked working trees and submodules a file that names it. */
async function gitFolderOf(top: string): Promise<string | undefined> {
  const path = join(top, ".git");
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return path;
  if (!found?.isFile()) return undefined;
  const named = /^gitdir: (.+)$/m.exec((await readText(path)) ?? "")?.[1]?.trim();
  return named === undefined ? undefined : resolve(top, named);
}

/**
 * Keys (lower case, "section.key") and values of a git configuration file. Sections with a subsection and includes are left out: nothing
 * asked here lives there.
 */
export function readConfig(text: string): [string, string][] {
  const entries: [string, string][] = [];
  let section: string | undefined;
  for (const line of text.replace(/\\\r?\n/g, "").split(/\r?\n/)) {
    const heading = /^\s*\[\s*([\w.-]+)\s*(".*")?\s*\]/.exec(line);
    if (heading) {
      section = heading[2] === undefined ? heading[1]?.toLowerCase() : undefined;
      continue;
    }
    const entry = /^\s*([A-Za-z][\w-]*)\s*(?:=\s*(.*))?$/.exec(line);
    if (!entry || section === undefined) continue;
    entries.push([`${section}.${(entry[1] ?? "").toLowerCase()}`, entry[2] === undefined ? "true" : plainValue(entry[2])]);
  }
  return entries;
}

/** Without quotes, escapes, a comment behind it and blanks around it. */
function plainValue(raw: string): string {
  let value = "";
  let quoted = false;
  /** Blanks before this stay: they were quoted or escaped. */
  let keep = 0;
  for (let at = 0; at < raw.length; at++) {
    const character = raw.charAt(at);
    if (character === "\\") {
      const next = raw.charAt(++at);
      value += next === "n" ? "\n" : next === "t" ? "\t" : next;
      keep = value.length;
    } else if (character === '"') {
      quoted = !quoted;
      keep = value.length;
    } else if (!quoted && (character === "#" || character === ";")) break;
    else value += character;
  }
  return value.slice(0, keep) + value.slice(keep).trimEnd();
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && ["true", "yes", "on", "1"].includes(value.toLowerCase());
}

async function readText(file: string): Promise<string | undefined> {
  return readFile(file, "utf8").catch(() => undefined);
}
