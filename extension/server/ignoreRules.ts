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
export function decidingRule(chain: RuleChain | undefined, path: string, nameAt: number, isFolder: boolean): Rule | undefined {
  for (let at = chain; at; at = at.weaker) {
    const rule = at.list.match(path, nameAt, isFolder);
    if (rule) return rule;
  }
  return undefined;
}

interface ParsedRule extends Rule {
  readonly foldersOnly: boolean;
  /** No "/" but at its end: it is compared with names, not with paths. */
  readonly byName: boolean;
  /** The pattern without "!", the leading and the trailing "/". */
  readonly pattern: string;
  /** How much of the pattern is literal. */
  readonly literal: number;
}

/** The rules of one ignore file. The last rule that matches decides; literal ones are looked up, so that long lists stay fast. */
export class RuleList {
  private readonly place: RulePlace;
  private readonly rules: ParsedRule[] = [];
  private readonly names = new Map<string, number[]>();
  private readonly paths = new Map<string, number[]>();
  /** Places of the other rules, the last first, each with its test. */
  private readonly globs: { index: number; matches: (path: string, name: string) => boolean }[] = [];

  /** `content` is the file, one character per byte. */
  constructor(place: RulePlace, content: string) {
    this.place = place;
    for (const line of ruleLines(content)) this.add(line);
    this.globs.reverse();
  }

  get isEmpty(): boolean {
    return this.rules.length === 0;
  }

  /** Whether every rule begins with "!". */
  get onlyTakesBack(): boolean {
    return this.rules.every(({ negated }) => negated);
  }

  /**
   * The rule that decides about a path: below the same top as the list's base and inside it, without a "/" at its end, one character
   * per byte; its name begins at `nameAt`.
   */
  match(path: string, nameAt: number, isFolder: boolean): Rule | undefined {
    const { base, ignoreCase } = this.place;
    const given = path.slice(nameAt);
    const name = ignoreCase ? foldCase(given) : given;
    let best = this.lastOf(this.names.get(name), isFolder);
    let inner: string | undefined;
    const innerPath = (): string => (inner ??= ignoreCase ? foldCase(path.slice(base.length)) : path.slice(base.length));
    if (this.paths.size > 0) best = Math.max(best, this.lastOf(this.paths.get(innerPath()), isFolder));
    for (const { index, matches } of this.globs) {
      if (index < best) break;
      const rule = this.rules[index];
      if (!rule || (rule.foldersOnly && !isFolder)) continue;
      if (!matches(rule.byName ? "" : innerPath(), name)) continue;
      best = index;
      break;
    }
    return this.rules[best];
  }

  /**
   * Whether a rule of that kind may match something below `folder` (with a "/" at its end) because it names a path that leads there.
   * Rules for any depth count only with `anyDepth`.
   */
  reachesInto(folder: string, negated: boolean, anyDepth: boolean): boolean {
    const { base, ignoreCase } = this.place;
    const inner = ignoreCase ? foldCase(folder.slice(base.length)) : folder.slice(base.length);
    return this.rules.some((rule) => {
      if (rule.negated !== negated) return false;
      const start = rule.byName ? "" : rule.pattern.slice(0, rule.pattern.lastIndexOf("/", rule.literal) + 1);
      const literal = ignoreCase ? foldCase(start) : start;
      if (literal === "") return anyDepth;
      return literal.startsWith(inner) || inner.startsWith(literal);
    });
  }

  private add(line: string): void {
    const { ignoreCase, source } = this.place;
    const negated = line.startsWith("!");
    const body = negated ? line.slice(1) : line;
    const foldersOnly = body.endsWith("/");
    const whole = foldersOnly ? body.slice(0, -1) : body;
    const byName = !whole.includes("/");
    const pattern = whole.startsWith("/") ? whole.slice(1) : whole;
    const literal = literalLength(pattern);
    const rule: ParsedRule = { text: shown(line), negated, source, foldersOnly, byName, pattern, literal };
    const index = this.rules.push(rule) - 1;
    const folded = ignoreCase ? foldCase(pattern) : pattern;
    if (literal === pattern.length) {
      if (pattern !== "") addTo(byName ? this.names : this.paths, folded, index);
      return;
    }
    const matches = byName ? nameTest(pattern, folded, ignoreCase) : pathTest(pattern, folded.slice(0, literal), ignoreCase);
    if (matches) this.globs.push({ index, matches });
  }

  private lastOf(indices: readonly number[] | undefined, isFolder: boolean): number {
    if (!indices) return -1;
    for (let at = indices.length - 1; at >= 0; at--) {
      const index = indices[at] ?? -1;
      if (isFolder || !this.rules[index]?.foldersOnly) return index;
    }
    return -1;
  }
}

function nameTest(pattern: string, folded: string, ignoreCase: boolean): ((path: string, name: string) => boolean) | undefined {
  if (pattern.startsWith("*") && literalLength(pattern.slice(1)) === pattern.length - 1) {
    const end = folded.slice(1);
    return (_, name) => name.endsWith(end);
  }
  const glob = compileGlob(pattern, { paths: false, ignoreCase });
  return glob && ((_, name) => glob(name, 0));
}

/** Git compares the literal beginning first and gives only the rest to its glob, so that "a**" + "/b" means more than it says. */
function pathTest(pattern: string, start: string, ignoreCase: boolean): ((path: string) => boolean) | undefined {
  const glob: Glob | undefined = compileGlob(pattern.slice(start.length), { paths: true, ignoreCase });
  return glob && ((path) => path.startsWith(start) && glob(path, start.length));
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
  let end = line.length;
  let blanks = -1;
  for (let at = 0; at < line.length; at++) {
    if (line[at] === " ") {
      if (blanks < 0) blanks = at;
      continue;
    }
    blanks = -1;
    if (line[at] !== "\\") continue;
    at++;
    if (at === line.length) return line;
  }
  if (blanks >= 0) end = blanks;
  return line.slice(0, end);
}

function addTo(map: Map<string, number[]>, key: string, index: number): void {
  const known = map.get(key);
  if (known) known.push(index);
  else map.set(key, [index]);
}

function shown(line: string): string {
  const text = textOf(line);
  return text.length <= 120 ? text : `${text.slice(0, 119)}…`;
}
