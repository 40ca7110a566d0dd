import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { byteString, compileGlob, foldCase } from "./globs.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** What of git's configuration decides which files there are. Nothing else is looked at, and nothing in it is ever run. */
export interface GitConfig {
  /** Absolute path of the user's own ignore file; it may not exist. */
  excludesFile: string | undefined;
  /** undefined: not set, the platform's default holds. */
  ignoreCase: boolean | undefined;
  /** macOS: names are compared in composed form. */
  precomposeUnicode: boolean;
  /** Bytes of an object's name: 20, or 32 in a repository with SHA-256. */
  objectIdBytes: number;
}

/** Where the configuration of one repository lies. */
export interface ConfigPlace {
  /** Top of the working tree: relative paths of the configuration start there. */
  top: string;
  /** .git, or what its "gitdir:" names. */
  gitFolder: string;
  /** Same, or what its "commondir" names: configuration and info/exclude of a worktree lie there. */
  commonFolder: string;
}

/** Rule and configuration files above this size are not read, as git does not either. */
const maxBytes = 100 * 1024 * 1024;
const maxIncludeDepth = 10;

/** Reads the system's, the user's and the repository's configuration, the later winning, with includes. Missing files count as empty. */
export function readGitConfig(place: ConfigPlace | undefined, environment: Environment): GitConfig {
  const values = new Map<string, string | undefined>();
  const home = environment.HOME ?? environment.USERPROFILE;
  const context: Context = { place, home, values };
  for (const file of outerFiles(environment, home)) readInto(context, file, 0);
  if (place) {
    readInto(context, join(place.commonFolder, "config"), 0);
    if (isTrue(values, "extensions.worktreeconfig")) readInto(context, join(place.gitFolder, "config.worktree"), 0);
  }
  return {
    excludesFile: excludesFile(values, place, home, environment),
    ignoreCase: values.has("core.ignorecase") ? isTrue(values, "core.ignorecase") : undefined,
    precomposeUnicode: isTrue(values, "core.precomposeunicode"),
    objectIdBytes: values.get("extensions.objectformat") === "sha256" ? 32 : 20,
  };
}

/**
 * Bytes of a small file that must be a regular one; undefined where there is none or it cannot be read. Never waits for a pipe.
 * With `ownOnly` a symbolic link counts as no file.
 */
export function readRegularFile(path: string, ownOnly: boolean): Buffer | undefined {
  if (isNetworkPath(path)) return undefined;
  let file: number;
  try {
    // A pipe in place of the file would block without O_NONBLOCK.
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    file = openSync(path, process.platform === "win32" ? O_RDONLY : O_RDONLY | O_NONBLOCK | (ownOnly ? O_NOFOLLOW : 0));
  } catch {
    return undefined;
  }
  try {
    const stats = fstatSync(file);
    if (!stats.isFile() || stats.size > maxBytes) return undefined;
    const bytes = Buffer.allocUnsafe(stats.size);
    let length = 0;
    for (let read = -1; read !== 0 && length < stats.size; length += read) {
      read = readSync(file, bytes, length, stats.size - length, length);
    }
    return bytes.subarray(0, length);
  } catch {
    return undefined;
  } finally {
    closeSync(file);
  }
}

interface Context {
  place: ConfigPlace | undefined;
  home: string | undefined;
  values: Map<string, string | undefined>;
}

/** A repository must not make Windows log in to somebody's server by naming a path on it. */
function isNetworkPath(path: string): boolean {
  return process.platform === "win32" && /^[\\/]{2}/.test(path);
}

function outerFiles(environment: Environment, home: string | undefined): string[] {
  const files: string[] = [];
  const noSystem = environment.GIT_CONFIG_NOSYSTEM;
  if (noSystem === undefined || isFalse(noSystem)) {
    const { GIT_CONFIG_SYSTEM: system, PROGRAMFILES: programs } = environment;
    if (system !== undefined) files.push(system);
    else if (process.platform === "win32") files.push(join(programs ?? "C:\\Program Files", "Git", "etc", "gitconfig"));
    else files.push("/etc/gitconfig", "/usr/local/etc/gitconfig", "/opt/homebrew/etc/gitconfig");
  }
  if (environment.GIT_CONFIG_GLOBAL !== undefined) return [...files, environment.GIT_CONFIG_GLOBAL];
  const user = userFolder(environment, home);
  if (user !== undefined) files.push(join(user, "config"));
  if (home !== undefined) files.push(join(home, ".gitconfig"));
  return files;
}

/** $XDG_CONFIG_HOME/git, by default ~/.config/git. */
function userFolder(environment: Environment, home: string | undefined): string | undefined {
  if (environment.XDG_CONFIG_HOME) return join(environment.XDG_CONFIG_HOME, "git");
  return home === undefined ? undefined : join(home, ".config", "git");
}

function excludesFile(
  values: ReadonlyMap<string, string | undefined>,
  place: ConfigPlace | undefined,
  home: string | undefined,
  environment: Environment,
): string | undefined {
  const set = values.get("core.excludesfile");
  if (set === undefined) {
    const user = userFolder(environment, home);
    return user === undefined ? undefined : join(user, "ignore");
  }
  const path = fromHome(set.replace(/^:\(optional\)/, ""), home);
  if (path === "") return undefined;
  if (isAbsolute(path)) return path;
  return place && join(place.top, path);
}

function fromHome(path: string, home: string | undefined): string {
  return home !== undefined && (path === "~" || path.startsWith("~/")) ? join(home, path.slice(1)) : path;
}

function readInto(context: Context, path: string, depth: number): void {
  const bytes = depth > maxIncludeDepth ? undefined : readRegularFile(path, false);
  if (!bytes) return;
  for (const { key, value } of configEntries(bytes.toString("utf8"))) {
    const included =
      key === "include.path" || (key.startsWith("includeif.") && key.endsWith(".path") && holds(context, path, key));
    if (!included) context.values.set(key, value);
    else if (value !== undefined) {
      const named = fromHome(value, context.home);
      readInto(context, isAbsolute(named) ? named : join(dirname(path), named), depth + 1);
    }
  }
}

/** Whether the condition of an includeIf holds; what we do not know counts as not. */
function holds({ place, home }: Context, file: string, key: string): boolean {
  const condition = key.slice("includeif.".length, -".path".length);
  const colon = condition.indexOf(":");
  const kind = condition.slice(0, colon);
  let pattern = condition.slice(colon + 1);
  if (!place) return false;
  if (kind === "onbranch") {
    const head = /^ref: refs\/heads\/(.*)$/m.exec(readRegularFile(join(place.gitFolder, "HEAD"), false)?.toString("utf8") ?? "");
    return head?.[1] !== undefined && isMatch(pattern.endsWith("/") ? `${pattern}**` : pattern, head[1], false);
  }
  if (kind !== "gitdir" && kind !== "gitdir/i") return false;
  if (pattern.startsWith("./")) pattern = `${dirname(file)}${pattern.slice(1)}`;
  else if (pattern.startsWith("~/")) pattern = fromHome(pattern, home);
  else if (!isAbsolute(pattern)) pattern = `**/${pattern}`;
  if (condition.endsWith("/")) pattern = `${pattern.replace(/\/$/, "")}/**`;
  return isMatch(pattern.replaceAll("\\", "/"), place.gitFolder.replaceAll("\\", "/"), kind === "gitdir/i");
}

function isMatch(pattern: string, text: string, ignoreCase: boolean): boolean {
  const bytes = byteString(text);
  return compileGlob(byteString(pattern), { paths: true, ignoreCase })?.(ignoreCase ? foldCase(bytes) : bytes, 0) ?? false;
}

/**
 * Entries of a configuration file in its order: "section.key" or "section.subsection.key", all but the subsection in lower case.
 * A value is undefined where the key stands alone, which means true. What follows a malformed line is not read.
 */
function* configEntries(text: string): Generator<{ key: string; value: string | undefined }> {
  let section = "";
  const source = new Characters(text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n"));
  for (let char = source.next(); char !== ""; char = source.next()) {
    if (/\s/.test(char)) continue;
    if (char === "#" || char === ";") source.skipLine();
    else if (char === "[") {
      const found = sectionName(source);
      if (found === undefined) return;
      section = found;
    } else if (/[A-Za-z]/.test(char)) {
      const name = char + source.takeWhile(/[A-Za-z0-9-]/);
      source.takeWhile(/[ \t]/);
      const sign = source.next();
      const value = sign === "=" ? configValue(source) : undefined;
      if (sign === "=" ? value === undefined : sign !== "\n" && sign !== "") return;
      yield { key: `${section}.${name.toLowerCase()}`, value };
    } else return;
  }
}

function sectionName(source: Characters): string | undefined {
  const name = source.takeWhile(/[A-Za-z0-9.-]/).toLowerCase();
  source.takeWhile(/[ \t]/);
  let end = source.next();
  if (end === "]") return name;
  if (end !== '"') return undefined;
  let subsection = "";
  for (end = source.next(); end !== '"'; end = source.next()) {
    if (end === "" || end === "\n") return undefined;
    subsection += end === "\\" ? source.next() : end;
  }
  return source.next() === "]" ? `${name}.${subsection}` : undefined;
}

const escapes = new Map([
  ["n", "\n"],
  ["t", "\t"],
  ["b", "\b"],
  ["\\", "\\"],
  ['"', '"'],
  ["\n", ""],
]);

/** A value up to its line's end: quotes, escapes and continued lines resolved, comments and outer blanks dropped. */
function configValue(source: Characters): string | undefined {
  let value = "";
  let blanks = "";
  let quoted = false;
  for (;;) {
    const char = source.next();
    if (char === "" || char === "\n") return quoted ? undefined : value;
    if (!quoted && (char === "#" || char === ";")) {
      source.skipLine();
      return value;
    }
    if (!quoted && (char === " " || char === "\t")) {
      if (value !== "") blanks += char;
      continue;
    }
    value += blanks;
    blanks = "";
    if (char === '"') quoted = !quoted;
    else if (char === "\\") {
      const escape = escapes.get(source.next());
      if (escape === undefined) return undefined;
      value += escape;
    } else value += char;
  }
}

class Characters {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  /** The next character, "" at the end. */
  next(): string {
    return this.text[this.at++] ?? "";
  }

  takeWhile(wanted: RegExp): string {
    const from = this.at;
    while (this.at < this.text.length && wanted.test(this.text[this.at] ?? "")) this.at++;
    return this.text.slice(from, this.at);
  }

  skipLine(): void {
    const end = this.text.indexOf("\n", this.at);
    this.at = end < 0 ? this.text.length : end + 1;
  }
}

function isTrue(values: ReadonlyMap<string, string | undefined>, key: string): boolean {
  if (!values.has(key)) return false;
  const value = values.get(key);
  return value === undefined || !isFalse(value);
}

function isFalse(value: string): boolean {
  return /^(|false|no|off|0+)$/i.test(value);
}
