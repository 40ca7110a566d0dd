import { compileGlob, foldCase, type Glob, literalLength, textOf } from "./globs.ts";

/** Names of the files that say what is not part of the workspace, weakest first. */
export const ignoreFileNames = [".gitignore", ".longcontextignore"] as const;

/** What one rule says about a path. */
export interface Rule {
  /** The rule as it stands in its file, shortened. */
  readonly text: string;
  /** It begins with "!": the path is not ignored. */
  readonly negated: boolean;
  /** Where it was read, as a person finds it. */
  readonly source: string;
}

/** Lists of rules from the strongest to the weakest. */
export interface RuleChain {
  readonly list: RuleList;
  readonly weaker?: RuleChain;
}

/** Where the rules of a file belong. */
export interface RulePlace {
  /** Folder the rules are about, with a "/" at its end, "" for the top; one character per byte. */
  readonly base: string;
  readonly source: string;
  readonly ignoreCase: boolean;
}

/** The rule that decides about a path: the last that matches, of the strongest list that has one. Arguments as for `RuleList.match`. */
export function decidingRule(chain: RuleChain | undefined, folder: string, name: string, isFolder: boolean): Rule | undefined {
  for (let at = chain; at; at = at.weaker) {
    const rule = at.list.match(folder, name, isFolder);
    if (rule) return rule;
  }
  return undefined;
}

/** The last literal rules of one name or path: of all of them, and of those that hold for files too. -1: none. */
interface Literal {
  forFolders: number;
  forFiles: number;
}

/** What of a list can match in one folder, beside the rules for names. */
interface FolderRules {
  /** Literal rules for paths, by the name in that folder. */
  literals: ReadonlyMap<string, Literal> | undefined;
  /** The other rules for paths whose literal beginning leads to that folder; each group in the order of the file. */
  groups: readonly (readonly ParsedRule[])[];
}

/**
 * The rules of one ignore file. The last rule that matches decides. Literal ones are looked up, and of the others only those are tried
 * whose literal beginning or end fits, so that a list of thousands stays fast.
 */
export class RuleList {
  private readonly place: RulePlace;
  private readonly rules: ParsedRule[] = [];
  private readonly names = new Map<string, Literal>();
  /** "*.log" and the like, by the last byte. */
  private readonly endings = new Map<string, ParsedRule[]>();
  /** Other rules for names, by the first byte; by "" where that is no literal one, or where any name matches. */
  private readonly beginnings = new Map<string, ParsedRule[]>();
  /** Literal rules for paths by folder and name, the others by the folder that their literal beginning names. */
  private readonly paths = new Map<string, Map<string, Literal>>();
  private readonly pathGlobs = new Map<string, ParsedRule[]>();
  private here: { folder: string; rules: FolderRules } | undefined;

  /** `content` is the file, one character per byte. */
  constructor(place: RulePlace, content: string) {
    this.place = place;
    for (const line of ruleLines(content)) this.add(new ParsedRule(line, this.rules.length, place));
  }

  get isEmpty(): boolean {
    return this.rules.length === 0;
  }

  /** Whether every rule begins with "!". */
  get onlyTakesBack(): boolean {
    return this.rules.every(({ negated }) => negated);
  }

  /**
   * The rule that decides about the entry `name` of a folder: a path below the same top as the list's base and inside it, with a "/" at
   * its end; "" is the top. One character per byte.
   */
  match(folder: string, name: string, isFolder: boolean): Rule | undefined {
    const folded = this.place.ignoreCase ? foldCase(name) : name;
    let best = this.names.size > 0 ? latest(this.names.get(folded), isFolder) : -1;
    if (this.endings.size > 0) best = lastMatch(this.endings.get(folded.slice(-1)), best, isFolder, folded, folded);
    if (this.beginnings.size > 0) {
      best = lastMatch(this.beginnings.get(folded.charAt(0)), best, isFolder, folded, folded);
      best = lastMatch(this.beginnings.get(""), best, isFolder, folded, folded);
    }
    if (this.paths.size + this.pathGlobs.size > 0) {
      const { literals, groups } = this.rulesIn(folder);
      best = Math.max(best, latest(literals?.get(folded), isFolder));
      if (groups.length > 0) {
        const path = this.inner(folder) + folded;
        for (const group of groups) best = lastMatch(group, best, isFolder, path, folded);
      }
    }
    return this.rules[best];
  }

  /**
   * Whether a rule of that kind may match something below `folder` (with a "/" at its end) because it names a path that leads there.
   * Rules for any depth count only with `anyDepth`.
   */
  reachesInto(folder: string, negated: boolean, anyDepth: boolean): boolean {
    const inner = this.inner(folder);
    return this.rules.some((rule) => {
      if (rule.negated !== negated) return false;
      const { literal } = rule;
      if (rule.byName || literal === "") return anyDepth;
      const way = rule.isLiteral ? `${literal}/` : literal;
      return way.startsWith(inner) || inner.startsWith(way);
    });
  }

  private add(rule: ParsedRule): void {
    this.rules.push(rule);
    const { pattern, byName, literal } = rule;
    if (pattern === "") return;
    const split = literal.lastIndexOf("/") + 1;
    if (rule.isLiteral) {
      const names = byName ? this.names : getOrAdd(this.paths, literal.slice(0, split), () => new Map<string, Literal>());
      const known = getOrAdd(names, literal.slice(split), () => ({ forFolders: -1, forFiles: -1 }));
      known.forFolders = rule.index;
      if (!rule.foldersOnly) known.forFiles = rule.index;
    } else if (!byName) getOrAdd(this.pathGlobs, literal.slice(0, split), () => []).push(rule);
    else if (rule.ending) getOrAdd(this.endings, rule.ending.slice(-1), () => []).push(rule);
    else getOrAdd(this.beginnings, literal.charAt(0), () => []).push(rule);
  }

  /** A walk asks about all entries of a folder in a row. */
  private rulesIn(folder: string): FolderRules {
    if (this.here?.folder === folder) return this.here.rules;
    const inner = this.inner(folder);
    const groups: ParsedRule[][] = [];
    for (let end = 0; ; end = inner.indexOf("/", end) + 1) {
      const group = this.pathGlobs.get(inner.slice(0, end));
      if (group) groups.push(group);
      if (end === inner.length) break;
    }
    const rules = { literals: this.paths.get(inner), groups };
    this.here = { folder, rules };
    return rules;
  }

  /** A folder below the list's base. */
  private inner(folder: string): string {
    const inner = folder.slice(this.place.base.length);
    return this.place.ignoreCase ? foldCase(inner) : inner;
  }
}

/** One line of an ignore file. */
class ParsedRule implements Rule {
  readonly index: number;
  readonly source: string;
  readonly negated: boolean;
  readonly foldersOnly: boolean;
  /** It is compared with names, not with paths: it has no "/" but at its end, or but for "**" + "/" in front. */
  readonly byName: boolean;
  /** The pattern without "!", the leading and the trailing "/". */
  readonly pattern: string;
  /** What of the pattern comes before the first special character, in lower case where case is ignored. */
  readonly literal: string;
  /** Of a rule for names that is "*" and a literal: that literal, which may be empty. */
  readonly ending: string | undefined;
  private readonly line: string;
  private readonly ignoreCase: boolean;
  private glob: Glob | undefined;

  constructor(line: string, index: number, { source, ignoreCase }: RulePlace) {
    this.index = index;
    this.source = source;
    this.line = line;
    this.ignoreCase = ignoreCase;
    this.negated = line.startsWith("!");
    const body = this.negated ? line.slice(1) : line;
    this.foldersOnly = body.endsWith("/");
    const whole = this.foldersOnly ? body.slice(0, -1) : body;
    const path = whole.startsWith("/") ? whole.slice(1) : whole;
    // At any depth is what a rule without a slash means as well.
    const name = path.replace(/^(?:\*{2,}\/)+/, "");
    this.byName = !whole.includes("/") || (name !== path && name !== "" && !name.includes("/"));
    this.pattern = this.byName ? name : path;
    const start = this.pattern.slice(0, literalLength(this.pattern));
    this.literal = ignoreCase ? foldCase(start) : start;
    const ending = this.byName && this.pattern.startsWith("*") ? this.pattern.slice(1) : undefined;
    if (ending !== undefined && literalLength(ending) === ending.length) this.ending = ignoreCase ? foldCase(ending) : ending;
  }

  get isLiteral(): boolean {
    return this.literal.length === this.pattern.length;
  }

  /** Made when somebody asks: most rules of a long list never decide. */
  get text(): string {
    const text = textOf(this.line);
    return text.length <= 120 ? text : `${text.slice(0, 119)}…`;
  }

  /** `path` is below the list's base; both in lower case where case is ignored. */
  matches(path: string, name: string): boolean {
    if (this.ending !== undefined) return name.endsWith(this.ending);
    const subject = this.byName ? name : path;
    if (!subject.startsWith(this.literal)) return false;
    this.glob ??= this.compiled();
    return this.glob(subject, this.byName ? 0 : this.literal.length);
  }

  /**
   * Git compares the literal beginning of a path first and gives only the rest to its glob, so that "a**" + "/b" means more than it says.
   */
  private compiled(): Glob {
    const { pattern, ignoreCase, byName } = this;
    const glob = byName
      ? compileGlob(pattern, { paths: false, ignoreCase })
      : compileGlob(pattern.slice(this.literal.length), { paths: true, ignoreCase });
    return glob ?? (() => false);
  }
}

function latest(literal: Literal | undefined, isFolder: boolean): number {
  if (!literal) return -1;
  return isFolder ? literal.forFolders : literal.forFiles;
}

/** Place of the last rule that matches, where that is behind `best`. */
function lastMatch(
  rules: readonly ParsedRule[] | undefined,
  best: number,
  isFolder: boolean,
  path: string,
  name: string,
): number {
  if (!rules) return best;
  for (let at = rules.length - 1; at >= 0; at--) {
    const rule = rules[at];
    if (!rule || rule.index < best) break;
    if ((isFolder || !rule.foldersOnly) && rule.matches(path, name)) return rule.index;
  }
  return best;
}

/** Lines that hold a rule, as git reads them: no byte order mark, no "\r" before the line's end, no blanks at the end unless escaped. */
function ruleLines(content: string): string[] {
  const lines = (content.startsWith("\u00ef\u00bb\u00bf") ? content.slice(3) : content).split("\n");
  return lines
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line))
    .map((line) => withoutTrailingSpaces(line.split("\0", 1)[0] ?? ""));
}

function withoutTrailingSpaces(line: string): string {
  if (!line.endsWith(" ")) return line;
  let blanks = -1;
  for (let at = 0; at < line.length; at++) {
    if (line[at] === " ") {
      if (blanks < 0) blanks = at;
      continue;
    }
    blanks = -1;
    if (line[at] === "\\") at++;
  }
  return blanks < 0 ? line : line.slice(0, blanks);
}

function getOrAdd<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
