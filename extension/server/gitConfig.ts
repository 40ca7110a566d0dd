import { realpathSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { byteString, compileGlob, foldCase } from "./globs.ts";
import { readRegularFile } from "./regularFile.ts";

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

const maxIncludeDepth = 10;

/**
 * Reads the system's, the user's and the repository's configuration and that of the environment, the later winning, with includes.
 * Missing files count as empty.
 */
export function readGitConfig(place: ConfigPlace | undefined, environment: Environment): GitConfig {
  const home = environment.HOME ?? environment.USERPROFILE;
  const first = readAll(place, environment, home, []);
  // Conditions on the addresses of remotes are about the whole configuration.
  const asksForRemotes = [...first.values.keys()].some((key) => key.startsWith("includeif.hasconfig:"));
  const { values } = asksForRemotes ? readAll(place, environment, home, first.foundUrls) : first;
  return {
    excludesFile: excludesFile(values, place, home, environment),
    ignoreCase: isTrue(values, "core.ignorecase"),
    precomposeUnicode: process.platform === "darwin" && isTrue(values, "core.precomposeunicode") === true,
    objectIdBytes: place && readRepositoryFormat(place).objectFormat === "sha256" ? 32 : 20,
  };
}

/** What a repository says of itself; git takes it from the repository's own configuration alone, without includes. */
export interface RepositoryFormat {
  isBare: boolean;
  /** Top of the working tree, relative to the git folder, where it is not the folder that holds .git. */
  workTree: string | undefined;
  objectFormat: string | undefined;
  /** The working tree has a configuration of its own. */
  hasOwnConfig: boolean;
}

export function readRepositoryFormat({ gitFolder, commonFolder }: ConfigPlace): RepositoryFormat {
  const common = ownValues(join(commonFolder, "config"));
  const hasOwnConfig = isTrue(common, "extensions.worktreeconfig") ?? false;
  const own = hasOwnConfig ? ownValues(join(gitFolder, "config.worktree")) : new Map<string, string | undefined>();
  // Of the configuration that linked working trees share, these are about the first one.
  const isLinked = gitFolder !== commonFolder && !hasOwnConfig;
  const both = new Map([...(isLinked ? [] : common), ...own]);
  return {
    isBare: isTrue(both, "core.bare") ?? false,
    workTree: both.get("core.worktree"),
    objectFormat: common.get("extensions.objectformat"),
    hasOwnConfig,
  };
}

/** Values by key; undefined where a key stands alone, which means true. */
type Values = ReadonlyMap<string, string | undefined>;

interface Context {
  place: ConfigPlace | undefined;
  home: string | undefined;
  values: Map<string, string | undefined>;
  /** Addresses of all remotes, as an earlier reading found them, and as this one finds them. */
  urls: readonly string[];
  foundUrls: string[];
}

function readAll(
  place: ConfigPlace | undefined,
  environment: Environment,
  home: string | undefined,
  urls: readonly string[],
): Context {
  const context: Context = { place, home, values: new Map(), urls, foundUrls: [] };
  for (const file of outerFiles(environment, home)) readInto(context, file, 0);
  if (place) {
    readInto(context, join(place.commonFolder, "config"), 0);
    if (readRepositoryFormat(place).hasOwnConfig) readInto(context, join(place.gitFolder, "config.worktree"), 0);
  }
  const count = Number(environment.GIT_CONFIG_COUNT ?? 0);
  for (let number = 0; number < count && environment[`GIT_CONFIG_KEY_${number}`] !== undefined; number++) {
    context.values.set((environment[`GIT_CONFIG_KEY_${number}`] ?? "").toLowerCase(), environment[`GIT_CONFIG_VALUE_${number}`]);
  }
  return context;
}

function ownValues(file: string): Values {
  const bytes = readRegularFile(file, false);
  return new Map(bytes ? [...configEntries(bytes.toString("utf8"))].map(({ key, value }) => [key, value]) : []);
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
  values: Values,
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
  // Homes of other users and git's own folder are not known here.
  if (path === "" || path.startsWith("~") || path.startsWith("%(prefix)")) return undefined;
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
    context.values.set(key, value);
    if (/^remote\..*\.url$/s.test(key) && value !== undefined) context.foundUrls.push(value);
    const isInclude =
      key === "include.path" || (key.startsWith("includeif.") && key.endsWith(".path") && holds(context, path, key));
    if (!isInclude || value === undefined) continue;
    const named = fromHome(value, context.home);
    readInto(context, isAbsolute(named) ? named : join(dirname(path), named), depth + 1);
  }
}

/** Whether the condition of an includeIf holds; what we do not know counts as not. */
function holds({ place, home, urls }: Context, file: string, key: string): boolean {
  const condition = key.slice("includeif.".length, -".path".length);
  const remotes = "hasconfig:remote.*.url:";
  if (condition.startsWith(remotes)) return urls.some((url) => isMatch(condition.slice(remotes.length), url, false));
  const colon = condition.indexOf(":");
  const kind = condition.slice(0, colon);
  const pattern = condition.slice(colon + 1);
  if (!place) return false;
  if (kind === "onbranch") {
    const head = /^ref: refs\/heads\/(.*)$/m.exec(readRegularFile(join(place.gitFolder, "HEAD"), false)?.toString("utf8") ?? "");
    return head?.[1] !== undefined && isMatch(pattern.endsWith("/") ? `${pattern}**` : pattern, head[1], false);
  }
  if (kind !== "gitdir" && kind !== "gitdir/i") return false;
  return isGitFolderLike(place.gitFolder, pattern, file, home, kind === "gitdir/i");
}

/** Git compares the real path first, then the one by which it found the folder. */
function isGitFolderLike(gitFolder: string, given: string, file: string, home: string | undefined, ignoreCase: boolean): boolean {
  let pattern = fromHome(given, home === undefined ? undefined : realPath(home));
  let literal = "";
  if (/^\.[/\\]/.test(pattern)) {
    // The path of the file holds no pattern.
    literal = `${withSlashes(realPath(dirname(file)))}/`;
    pattern = pattern.slice(2);
  } else if (!isAbsolute(pattern)) pattern = `**/${pattern}`;
  if (pattern.endsWith("/")) pattern += "**";
  return [realPath(gitFolder), gitFolder].some((path) => {
    const text = withSlashes(path);
    const isBelow = ignoreCase ? foldCase(text).startsWith(foldCase(literal)) : text.startsWith(literal);
    return isBelow && isMatch(withSlashes(pattern), text.slice(literal.length), ignoreCase);
  });
}

/** On Windows "\\" is a separator in paths of the configuration; elsewhere it escapes. */
function withSlashes(path: string): string {
  return process.platform === "win32" ? path.replaceAll("\\", "/") : path;
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
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

/** undefined where the key is not set. */
function isTrue(values: Values, key: string): boolean | undefined {
  if (!values.has(key)) return undefined;
  const value = values.get(key);
  return value === undefined || !isFalse(value);
}

function isFalse(value: string): boolean {
  return /^(|false|no|off|0+)$/i.test(value);
}
