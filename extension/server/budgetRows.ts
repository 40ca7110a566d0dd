import { basename } from "node:path";
import ignore from "ignore";
import type { Level } from "../../engine/pack/levels.ts";
import {
  type BudgetTable,
  type CountedEntry,
  excludedOf,
  filesOf,
  type FolderNode,
  isUntitledPath,
  type LeveledEntry,
} from "./budgetTable.ts";
import { decideLevel, levelWords } from "./levelDecision.ts";
import type { BudgetRow, BudgetSort, ExcludedRow, FileMark } from "./requests.ts";
import type { Selection } from "./selection.ts";

/** What rows are made of. */
export interface RowSource {
  table: BudgetTable;
  selection: Selection;
  /** What the workspace is called: the name of the row "". */
  label: string;
}

/** Rows that one question answers; more are named by a last row. */
const mostRows = 10_000;
/** Equal files below this are license headers and empty modules, and not worth a mark. */
const duplicateTokens = 32;

/** The row of a path; undefined where there is none. A folder's path ends in "/", "" is the workspace. */
export function rowOf(source: RowSource, path: string): BudgetRow | undefined {
  const folder = path === "" || path.endsWith("/") ? source.table.folder(path) : undefined;
  if (folder) return folderRow(source, folder);
  const file = source.table.file(path);
  if (file) return fileRow(source, file);
  const row = source.table.excludedRow(path);
  return row && excludedRow(row);
}

/** Rows directly below a folder, or, with a filter, all files below it whose path it matches; git's rows come behind those of the workspace. */
export function childrenOf(source: RowSource, path: string, filter: string, sort: BudgetSort): BudgetRow[] {
  const folder = source.table.folder(path);
  if (!folder) return [];
  const rows = filter.trim() === "" ? below(source, folder) : matching(source, folder, filter.trim());
  rows.sort(orders[sort]);
  const git = path === "" ? [...source.table.git.files.values()].map((file) => fileRow(source, file)) : [];
  const wanted = filter.trim() === "" ? git : [];
  if (rows.length <= mostRows) return [...rows, ...wanted];
  return [...rows.slice(0, mostRows), restRow(path, rows.slice(mostRows)), ...wanted];
}

/** Marks of a file, and whether another one has the same text. */
export function marksOf(table: BudgetTable, entry: CountedEntry): FileMark[] {
  const original = entry.tokens < duplicateTokens ? undefined : table.originalOf(entry);
  return original === undefined
    ? [...entry.marks]
    : [...entry.marks, { kind: "duplicate", message: `the same text as ${original}` }];
}

function below(source: RowSource, folder: FolderNode): BudgetRow[] {
  return [
    ...[...folder.folders.values()].map((node) => folderRow(source, node)),
    ...[...folder.files.values()].map((file) => fileRow(source, file)),
    ...[...folder.excluded.values()].map(excludedRow),
  ];
}

function matching(source: RowSource, folder: FolderNode, filter: string): BudgetRow[] {
  const matches = matcherOf(filter);
  return [
    ...filesOf(folder)
      .filter(({ entry }) => matches(entry.path))
      .map((file) => fileRow(source, file)),
    ...excludedOf(folder)
      .filter((row) => matches(row.path))
      .map(excludedRow),
  ];
}

/** A pattern as .gitignore has it where there is one of its signs, else a part of the path in any case. */
function matcherOf(filter: string): (path: string) => boolean {
  if (!/[*?[\]!]/.test(filter)) {
    const part = filter.toLowerCase();
    return (path) => path.toLowerCase().includes(part);
  }
  const pattern = ignore({ ignorecase: true, allowRelativePaths: true }).add(filter);
  return (path) => pattern.ignores(path);
}

function folderRow({ table, label }: RowSource, folder: FolderNode): BudgetRow {
  const { sums, path } = folder;
  const git = path === "" ? table.git.sums.tokens : 0;
  return {
    path,
    name: path === "" ? label : basename(path),
    kind: "folder",
    tokens: sums.tokens + git,
    fullTokens: sums.fullTokens,
    approximate: sums.approximateFiles > 0,
    includedFiles: sums.includedFiles,
    files: sums.files,
    level: commonLevel(sums.levels),
    reason: folderReason(sums.files, sums.levels),
    marks: [],
    mtimeMs: newestBelow(folder),
  };
}

function commonLevel(levels: Readonly<Record<Level, number>>): Level | "mixed" {
  const [only, ...others] = (["full", "outline", "name", "excluded"] as const).filter((level) => levels[level] > 0);
  return others.length > 0 ? "mixed" : (only ?? "excluded");
}

function folderReason(files: number, levels: Readonly<Record<Level, number>>): string {
  if (files === 0) return "nothing in it is counted";
  const parts = (["full", "outline", "name", "excluded"] as const)
    .filter((level) => levels[level] > 0)
    .map((level) => `${levels[level].toLocaleString("en-US")} ${levelWords[level]}`);
  return `${files.toLocaleString("en-US")} ${files === 1 ? "file" : "files"}: ${parts.join(", ")}`;
}

function newestBelow(folder: FolderNode): number {
  let newest = 0;
  for (const { entry } of folder.files.values()) newest = Math.max(newest, entry.mtimeMs);
  for (const node of folder.folders.values()) newest = Math.max(newest, newestBelow(node));
  return newest;
}

function fileRow({ table, selection }: RowSource, { entry, level, tokens, approximate }: LeveledEntry): BudgetRow {
  return {
    path: entry.path,
    name:
      entry.kind === "git"
        ? entry.path.slice("git:".length)
        : isUntitledPath(entry.path)
          ? untitledName(entry.path)
          : basename(entry.path),
    kind: entry.kind,
    tokens,
    fullTokens: entry.tokens,
    approximate,
    includedFiles: level === "excluded" ? 0 : 1,
    files: 1,
    level,
    reason: decideLevel(selection, entry).reason,
    marks: marksOf(table, entry),
    mtimeMs: entry.mtimeMs,
  };
}

function untitledName(path: string): string {
  return basename(path.slice("untitled:".length));
}

function excludedRow({ path, reason }: ExcludedRow): BudgetRow {
  return { ...nothing, path, name: basename(path) + (path.endsWith("/") ? "/" : ""), reason };
}

/** What was left out of a list for its length, so that nothing disappears. */
function restRow(path: string, rest: readonly BudgetRow[]): BudgetRow {
  const tokens = rest.reduce((sum, row) => sum + row.tokens, 0);
  const count = rest.length.toLocaleString("en-US");
  return {
    ...nothing,
    path: `${path}*`,
    name: `${count} more`,
    tokens,
    reason: `${count} more rows: filter for what you look for`,
  };
}

const nothing = {
  kind: "excluded" as const,
  tokens: 0,
  fullTokens: 0,
  approximate: false,
  includedFiles: 0,
  files: 0,
  level: "excluded" as const,
  marks: [],
  mtimeMs: 0,
};

/** Rows that are not counted come last; what is equal is in path order. */
const orders: Record<BudgetSort, (a: BudgetRow, b: BudgetRow) => number> = {
  tokens: (a, b) => outLast(a, b) || b.fullTokens - a.fullTokens || pathOrder(a, b),
  path: (a, b) => pathOrder(a, b),
  changed: (a, b) => outLast(a, b) || b.mtimeMs - a.mtimeMs || pathOrder(a, b),
};

function outLast(a: BudgetRow, b: BudgetRow): number {
  return Number(a.kind === "excluded") - Number(b.kind === "excluded");
}

function pathOrder(a: BudgetRow, b: BudgetRow): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}
