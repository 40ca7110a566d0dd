/** Which files a chat question is about, from what was attached to it. No `vscode`, so that every rule is tested. */
import type { SnapshotFile } from "../../engine/api.ts";
import type { LevelMap, LineRange } from "../../engine/pack/levels.ts";
import type { ExcludedRow, ListedFile } from "../server/requests.ts";

/** Something attached to a question, in the names of the token server. */
export type Attached =
  /** `implicit`: VS Code attached the editor by itself; nobody asked for this file alone. */
  | { kind: "file"; path: string; implicit: boolean }
  /** Ends in "/"; "" is the whole workspace. */
  | { kind: "folder"; path: string }
  | { kind: "lines"; path: string; lines: LineRange; implicit: boolean }
  | { kind: "set"; name: string; levels: LevelMap }
  /** What cannot be read, and why. */
  | { kind: "other"; what: string };

/** What to ask the token server for, and what to make of its answer. */
export interface ContextChoice {
  /** Undefined: those of the Budget view. */
  levels: LevelMap | undefined;
  /** Kept before all others where not everything fits. */
  first: string[];
  /** Of these files only these lines go in. */
  lines: ReadonlyMap<string, readonly LineRange[]>;
  /** What the question is limited to, in words, with the path of what is a file; empty for the levels of the Budget view. */
  scope: readonly { name: string; path?: string }[];
  /** What was attached and is not read, each with its reason. */
  notRead: string[];
}

/**
 * A context set replaces the levels of the Budget view. Files, folders and lines that the user attached are all that is read; beside a context
 * set they are read whole and kept first. What VS Code attached by itself is only kept first.
 */
export function chooseContext(attached: readonly Attached[], userLevels: LevelMap): ContextChoice {
  const sets = attached.filter((one) => one.kind === "set");
  const pointed = attached.filter(isPointedAt);
  const limited = pointed.length > 0;
  const own: LevelMap = Object.fromEntries(pointed.flatMap((one) => levelsOf(one, userLevels)));
  const setLevels: LevelMap = Object.fromEntries(sets.flatMap((set) => Object.entries(set.levels)));
  const levels = sets.length > 0 ? { ...setLevels, ...own } : limited ? { "": "excluded" as const, ...own } : undefined;
  const first = attached.flatMap((one) => (one.kind === "file" || one.kind === "lines" ? [one.path] : []));
  return {
    levels,
    first: [...new Set(first)],
    lines: linesByPath(pointed),
    scope: [
      ...sets.map(({ name }) => ({ name: `the context set "${name}"` })),
      ...pointed.map((one) => (one.kind === "folder" ? { name: nameOf(one) } : { name: nameOf(one), path: one.path })),
    ],
    notRead: attached.flatMap((one) => (one.kind === "other" ? [one.what] : [])),
  };
}

/** The files as the engine takes them: with the lines that are left of some of them, and without what only counting needs. */
export function snapshotFiles(files: readonly ListedFile[], lines: ContextChoice["lines"]): SnapshotFile[] {
  return files.map(({ path, hash, sizeBytes, level, lines: outline }) => {
    const kept = lines.get(path);
    if (kept !== undefined) return { path, hash, sizeBytes, level: "outline", lines: kept };
    return { path, hash, sizeBytes, level, ...(outline === undefined ? {} : { lines: outline }) };
  });
}

/** Attached files that the token server does not list, each with its reason. */
export function missingFiles(
  attached: readonly Attached[],
  files: readonly ListedFile[],
  excluded: readonly ExcludedRow[],
): { path: string; reason: string }[] {
  const listed = new Set(files.map(({ path }) => path));
  const missing = attached.flatMap((one) =>
    isPointedAt(one) && one.kind !== "folder" && !listed.has(one.path) ? [one.path] : [],
  );
  return [...new Set(missing)].map((path) => {
    const row = excluded.find(
      (candidate) => candidate.path === path || (candidate.path.endsWith("/") && path.startsWith(candidate.path)),
    );
    return { path, reason: row?.reason ?? "it is not counted; see the Budget view" };
  });
}

/** What is read, in words, less what turned out to be missing; undefined where the question is not limited. */
export function scopeText({ scope }: ContextChoice, missing: readonly { path: string }[]): string | undefined {
  const gone = new Set(missing.map(({ path }) => path));
  const words = [...new Set(scope.flatMap(({ name, path }) => (path !== undefined && gone.has(path) ? [] : [name])))];
  if (words.length === 0) return undefined;
  const shown = words.slice(0, mostNamed).join(", ");
  return words.length > mostNamed ? `${shown} and ${words.length - mostNamed} more` : shown;
}

type PointedAt = Extract<Attached, { kind: "file" | "folder" | "lines" }>;

function isPointedAt(one: Attached): one is PointedAt {
  return one.kind === "folder" || ((one.kind === "file" || one.kind === "lines") && !one.implicit);
}

/** What the user excluded below a folder stays out: he pointed at the folder, not at that. */
function levelsOf(one: PointedAt, userLevels: LevelMap): [string, LevelMap[string]][] {
  if (one.kind !== "folder") return [[one.path, "full"]];
  const below = Object.entries(userLevels).filter(([path]) => path.startsWith(one.path) && path !== one.path);
  return [[one.path, "full"], ...below];
}

/** A file that is attached as a whole too is read whole. */
function linesByPath(pointed: readonly PointedAt[]): ContextChoice["lines"] {
  const whole = new Set(pointed.flatMap((one) => (one.kind === "file" ? [one.path] : [])));
  const lines = new Map<string, LineRange[]>();
  for (const one of pointed) {
    if (one.kind !== "lines" || whole.has(one.path)) continue;
    lines.set(one.path, [...(lines.get(one.path) ?? []), one.lines]);
  }
  return lines;
}

function nameOf(one: PointedAt): string {
  if (one.kind !== "lines") return one.path === "" ? "the workspace" : one.path;
  const { first, last } = one.lines;
  return first === last ? `${one.path}:${first}` : `${one.path}:${first}-${last}`;
}

const mostNamed = 6;
