import { levelOf } from "../../engine/pack/contextSet.ts";
import type { Level, LevelMap } from "../../engine/pack/levels.ts";
import type { ExcludedRow, FileMark, Finding } from "./requests.ts";
import type { SecretFinding } from "./secrets.ts";

/** A counted file, as far as a finding can be about it. */
export interface FindingsFile {
  path: string;
  /** Tokens when it is whole, and at its level. */
  tokens: number;
  packTokens: number;
  bytes: number;
  hash: string;
  level: Level;
  /** What the reader of the file noticed; a minified or generated one is counted only where the user included it. */
  marks: readonly { kind: FileMark["kind"] | "minified" | "generated"; message: string }[];
  /** From `hostileLineOf`; absent where there is none. */
  hostileLine?: HostileLine;
}

export interface FindingsInput {
  files: readonly FindingsFile[];
  excluded: readonly ExcludedRow[];
  /** Where something in a counted file looks like a secret; `line` 0 where its name says it. */
  secrets: readonly (Pick<SecretFinding, "line" | "message"> & { path: string })[];
  /** What the user decided: what they left out, or took in by name, is not remarked on again. */
  levels: LevelMap;
  /** Tokens of the window, and of it what is kept free for the answer. */
  window: number;
  reserve: number;
  /** Part of the window above which a folder is remarked on; by default half. */
  folderShare?: number;
  /** Findings of one kind; by default 100. One more says how many there are beyond. */
  maxPerKind?: number;
}

/** A line that costs far more tokens than it tells. */
export interface HostileLine {
  /** 1-based. */
  line: number;
  characters: number;
  bytes: number;
  tokens: number;
}

/** Lines above this are data or generated, whatever they hold. */
const hostileCharacters = 10_000;
/** Code and prose have 3 to 5 bytes per token; base64, hashes and number tables have 1 to 2. */
const hostileBytesPerToken = 2;
/** Shorter lines cost little however bad they are, and need not be counted. */
const countedCharacters = 1_000;
/** Equal files below this are license headers and empty modules: leaving one out saves nothing. */
const duplicateTokens = 32;

/**
 * Everything worth a remark in the workspace, with quick fixes: per kind the costliest first, no more than `maxPerKind` and a last one that counts
 * the rest. Files that are left out by the user's own decision get none. Pure.
 */
export function findingsOf(input: FindingsInput): Finding[] {
  const most = input.maxPerKind ?? 100;
  const found = [
    ...secretFindings(input),
    ...folderFindings(input),
    ...input.files.flatMap((file) => fileFindings(file)),
    ...duplicateFindings(input.files),
    ...input.excluded.flatMap((row) => excludedFindings(row, input.levels)),
  ];
  return kinds.flatMap(({ kind, many }) =>
    atMost(
      most,
      found.filter((one) => one.finding.kind === kind),
      many,
    ),
  );
}

/** The line of a text that costs most among those longer than 10,000 characters or with under 2 bytes per token; `count` is the tokenizer's. */
export function hostileLineOf(text: string, count: (line: string) => number): HostileLine | undefined {
  let worst: HostileLine | undefined;
  let line = 1;
  for (let start = 0; start <= text.length; line++) {
    const found = text.indexOf("\n", start);
    const end = found === -1 ? text.length : found;
    if (end - start >= countedCharacters) {
      const content = text.slice(start, end);
      const bytes = Buffer.byteLength(content);
      const tokens = count(content);
      const hostile = content.length > hostileCharacters || bytes < tokens * hostileBytesPerToken;
      if (hostile && (worst === undefined || tokens > worst.tokens)) worst = { line, characters: content.length, bytes, tokens };
    }
    start = end + 1;
  }
  return worst;
}

/** In the order they are told: what matters most first. */
const kinds: readonly { kind: Finding["kind"]; many: string }[] = [
  { kind: "secret", many: "places that look like a secret" },
  { kind: "over-budget-folder", many: "folders that take a large part of the window" },
  { kind: "long-line", many: "files with a line that costs far more tokens than it tells" },
  { kind: "minified", many: "minified files" },
  { kind: "generated", many: "generated files" },
  { kind: "duplicate", many: "copies of other files" },
  { kind: "invalid-utf8", many: "files that are not valid UTF-8" },
  { kind: "too-large", many: "files over a limit" },
  { kind: "binary", many: "binary files" },
];

/** A finding and what it costs: tokens, or 0 where nothing is counted. */
interface Weighed {
  finding: Finding;
  tokens: number;
}

function atMost(most: number, all: readonly Weighed[], many: string): Finding[] {
  const sorted = [...all].sort((a, b) => b.tokens - a.tokens || comparePaths(a.finding, b.finding));
  const kept = sorted.slice(0, most).map(({ finding }) => finding);
  const next = sorted[most]?.finding;
  if (next === undefined) return kept;
  const message = `${number(sorted.length - most)} more: ${many}. Deal with the ones above first, or with whole folders in the Budget view`;
  return [...kept, { path: next.path, line: 0, kind: next.kind, severity: next.severity, message, fixes: [] }];
}

function comparePaths(a: Finding, b: Finding): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : a.line - b.line;
}

function secretFindings({ secrets, excluded, files, levels }: FindingsInput): Weighed[] {
  const tokens = new Map(files.map((file) => [file.path, file.tokens]));
  const byName = excluded.filter(({ kind }) => kind === "secret").map(({ path, reason }) => ({ path, line: 0, message: reason }));
  const inText = new Set(secrets.map(({ path }) => path));
  const all = [...secrets, ...byName.filter(({ path }) => !inText.has(path))];
  return all.flatMap(({ path, line, message }) => {
    if (levelOf(levels, path).level === "excluded") return [];
    const what = `${capital(message)}. The file stays out of every export until you allow it there: `;
    const remedy = "take the secret out and replace it where it is used, or exclude the file";
    const finding: Finding = {
      path,
      line,
      kind: "secret",
      severity: "warning",
      message: what + remedy,
      fixes: [excludeFix(path)],
    };
    return [{ finding, tokens: tokens.get(path) ?? 0 }];
  });
}

/** Only the deepest folders that are over the share: their parents are over it because of them. */
function folderFindings({ files, window, reserve, folderShare = 0.5 }: FindingsInput): Weighed[] {
  if (window <= 0) return [];
  const totals = new Map<string, number>();
  for (const { path, packTokens } of files)
    for (const folder of foldersOf(path)) totals.set(folder, (totals.get(folder) ?? 0) + packTokens);
  const over = [...totals].filter(([, tokens]) => tokens > window * folderShare);
  const parents = new Set(over.flatMap(([folder]) => foldersOf(folder.slice(0, -1))));
  const deepest = over.filter(([folder]) => !parents.has(folder));
  return deepest.map(([path, tokens]) => {
    const share = Math.round((tokens / window) * 100);
    const alone = tokens > window - reserve;
    const much = alone ? "more than fits beside the answer" : `${share} % of the window`;
    const message = `${path} takes ${number(tokens)} tokens, ${much}: send outlines of it, or exclude what the question does not need`;
    const fixes = [fix(`Send only outlines of ${path}`, path, "outline"), excludeFix(path)];
    return {
      finding: { path, line: 0, kind: "over-budget-folder", severity: alone ? "warning" : "information", message, fixes },
      tokens,
    };
  });
}

/** "a/b/c.ts" lies in "a/" and "a/b/". */
function foldersOf(path: string): string[] {
  const folders: string[] = [];
  for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) folders.push(path.slice(0, at + 1));
  return folders;
}

function fileFindings({ path, tokens, level, marks, hostileLine }: FindingsFile): Weighed[] {
  if (level === "excluded" || level === "name") return [];
  const found: Finding[] = [];
  for (const { kind, message } of marks) {
    if (kind === "invalid-utf8") {
      const remedy = "what could not be read is counted as replacement characters; save the file as UTF-8, or exclude it";
      found.push({
        path,
        line: 0,
        kind,
        severity: "information",
        message: `${capital(message)}: ${remedy}`,
        fixes: [excludeFix(path)],
      });
    } else if ((kind === "minified" || kind === "generated") && level === "full") {
      const remedy = `it costs ${number(tokens)} tokens; exclude it, or send only its name`;
      found.push({
        path,
        line: 0,
        kind,
        severity: "information",
        message: `${capital(message)}: ${remedy}`,
        fixes: [excludeFix(path), nameFix(path)],
      });
    }
  }
  // An outline leaves such lines out.
  if (hostileLine && level === "full") found.push(hostileFinding(path, hostileLine));
  return found.map((finding) => ({ finding, tokens: finding.kind === "long-line" ? (hostileLine?.tokens ?? 0) : tokens }));
}

function hostileFinding(path: string, { line, characters, bytes, tokens }: HostileLine): Finding {
  const rate = tokens > 0 ? `${(bytes / tokens).toFixed(1)} bytes per token` : "no tokens";
  const what = `This line is ${number(characters)} characters and ${number(tokens)} tokens long (${rate})`;
  const message = `${what}, which is usually data rather than text: exclude the file, or send only its name`;
  return { path, line, kind: "long-line", severity: "information", message, fixes: [excludeFix(path), nameFix(path)] };
}

/** Every file whose text another one before it, by path, has too. */
function duplicateFindings(files: readonly FindingsFile[]): Weighed[] {
  const groups = new Map<string, FindingsFile[]>();
  for (const file of files) {
    if (file.level === "excluded" || file.level === "name" || file.tokens < duplicateTokens) continue;
    const key = `${file.bytes} ${file.hash}`;
    const group = groups.get(key);
    if (group) group.push(file);
    else groups.set(key, [file]);
  }
  return [...groups.values()].flatMap((group) => {
    const [first, ...copies] = group.sort((a, b) => (a.path < b.path ? -1 : 1));
    if (first === undefined) return [];
    // One map that all share: a file with thousands of copies must not make millions of entries.
    const all: LevelMap = Object.fromEntries(copies.map(({ path }) => [path, "excluded"]));
    return copies.map(({ path, tokens }) => {
      const message = `The same text as ${first.path}: exclude this copy and save ${number(tokens)} tokens`;
      const every = { title: `Exclude all ${copies.length} copies of ${first.path}`, levels: all };
      const fixes = copies.length > 1 && copies.length <= mostTogether ? [excludeFix(path), every] : [excludeFix(path)];
      return { finding: { path, line: 0, kind: "duplicate", severity: "information", message, fixes }, tokens };
    });
  });
}

/** Copies that one quick fix leaves out together: each finding carries the whole list over the wire. */
const mostTogether = 200;

/** Rows that the walk left out for what they are. What an ignore file leaves out was somebody's decision already. */
function excludedFindings({ path, reason, kind }: ExcludedRow, levels: LevelMap): Weighed[] {
  const decided = levelOf(levels, path);
  if (decided.key === path || decided.level === "excluded") return [];
  const keepOut = fix(`Keep ${path} out`, path, "excluded");
  const left = `Not counted: ${reason}. `;
  const remark = (as: Finding["kind"], severity: Finding["severity"], message: string, fixes: Finding["fixes"]): Weighed[] => [
    { finding: { path, line: 0, kind: as, severity, message: left + message, fixes }, tokens: 0 },
  ];
  switch (kind) {
    case "minified":
    case "generated":
      return remark(kind, "hint", "Include it anyway where a question is about it, or keep it out for good", [
        fix(`Include ${path} anyway`, path, "full"),
        keepOut,
      ]);
    case "binary":
      return remark(kind, "hint", "Only text can go into a pack: save it as text, or keep it out for good", [keepOut]);
    case "too-large":
    case "too-many-files":
      return remark("too-large", "information", "Raise the limit in the settings, or keep it out for good", [keepOut]);
    default:
      return [];
  }
}

function fix(title: string, path: string, level: Level): Finding["fixes"][number] {
  return { title, levels: { [path]: level } };
}

function excludeFix(path: string): Finding["fixes"][number] {
  return fix(`Exclude ${path}`, path, "excluded");
}

function nameFix(path: string): Finding["fixes"][number] {
  return fix(`Send only the name of ${path}`, path, "name");
}

function number(value: number): string {
  return value.toLocaleString("en");
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
