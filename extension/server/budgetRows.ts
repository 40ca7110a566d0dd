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
  newestBelow,
} from "./budgetTable.ts";
import { decideLevel, levelWords } from "./levelDecision.ts";
import type { BudgetChildren, BudgetRow, BudgetSort, ExcludedRow, FileMark } from "./requests.ts";
import type { Selection } from "./selection.ts";
import { byPath } from "./walk.ts";

/** What rows are made of. */
export interface RowSource {
  table: BudgetTable;
  selection: Selection;
  /** What the workspace is called: the name of the row "". */
  label: string;
}

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

export interface ChildrenAsk {
  /** Ends in "/"; "" is the workspace. */
  path: string;
  /** Empty: what lies directly below the folder; else everything below it whose path this matches. */
  filter: string;
  sort: BudgetSort;
  limit: number;
  leftOutLimit: number;
}

/** What lies below a folder; git's rows come behind those of the workspace. */
export function childrenOf(source: RowSource, { path, filter, sort, limit, leftOutLimit }: ChildrenAsk): BudgetChildren {
  const folder = source.table.folder(path);
  if (!folder) return { rows: [], hidden: 0, leftOut: [], leftOutHidden: 0, leftOutReasons: "" };
  const wanted = filter.trim();
  const git = path === "" && wanted === "" ? [...source.table.git.files.values()].map((file) => fileRow(source, file)) : [];
  const inside = wanted === "" ? directlyBelow(folder) : matching(folder, wanted);
  inside.sort(orders[sort]);
  const counted = wanted === "" ? inside.filter(({ excluded }) => !excluded) : inside;
  const leftOut = wanted === "" ? [...folder.excluded.values()].sort(byPath) : [];
  return {
    rows: [...counted.slice(0, limit).map((item) => itemRow(source, item)), ...git],
    hidden: Math.max(0, counted.length - limit),
    leftOut: leftOut.slice(0, leftOutLimit).map(excludedRow),
    leftOutHidden: Math.max(0, leftOut.length - leftOutLimit),
    leftOutReasons: commonReasons(leftOut),
  };
}

/** Marks of a file, and whether another one has the same text. */
export function marksOf(table: BudgetTable, entry: CountedEntry): FileMark[] {
  const original = entry.tokens < duplicateTokens ? undefined : table.originalOf(entry);
  return original === undefined
    ? [...entry.marks]
    : [...entry.marks, { kind: "duplicate", message: `the same text as ${original}` }];
}

/** What a row is made of, as far as its place in a list is concerned: making thousands of rows to show some takes too long. */
interface Item {
  path: string;
  tokens: number;
  mtimeMs: number;
  folder?: FolderNode;
  file?: LeveledEntry;
  excluded?: ExcludedRow;
}

function directlyBelow(folder: FolderNode): Item[] {
  return [...[...folder.folders.values()].map(folderItem), ...[...folder.files.values()].map(fileItem)];
}

function matching(folder: FolderNode, filter: string): Item[] {
  const matches = matcherOf(filter);
  return [
    ...filesOf(folder)
      .filter(({ entry }) => matches(entry.path))
      .map(fileItem),
    ...excludedOf(folder)
      .filter((row) => matches(row.path))
      .map((excluded) => ({ path: excluded.path, tokens: 0, mtimeMs: 0, excluded })),
  ];
}

function folderItem(folder: FolderNode): Item {
  return { path: folder.path, tokens: folder.sums.fullTokens, mtimeMs: newestBelow(folder), folder };
}

function fileItem(file: LeveledEntry): Item {
  return { path: file.entry.path, tokens: file.entry.tokens, mtimeMs: file.entry.mtimeMs, file };
}

function itemRow(source: RowSource, { folder, file, excluded }: Item): BudgetRow {
  if (folder) return folderRow(source, folder);
  return file ? fileRow(source, file) : excludedRow(excluded ?? { path: "", reason: "", kind: "unreadable" });
}

/** "binary content (3), larger than 1 MiB, …": the commonest first. */
function commonReasons(rows: readonly ExcludedRow[]): string {
  const counts = new Map<string, number>();
  for (const { reason } of rows) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  const named = sorted.slice(0, 2).map(([reason, count]) => (count === 1 ? reason : `${reason} (${count})`));
  return sorted.length > 2 ? `${named.join(", ")}, …` : named.join(", ");
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
  const git = path === "" ? table.git.sums.packTokens : 0;
  return {
    path,
    name: path === "" ? label : basename(path),
    kind: "folder",
    tokens: sums.packTokens + git,
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

function fileRow({ table, selection }: RowSource, { entry, level, packTokens, approximate }: LeveledEntry): BudgetRow {
  const { path, kind, remark } = entry;
  const { reason } = decideLevel(selection, entry);
  return {
    path,
    name: entry.name ?? (isUntitledPath(path) ? untitledName(path) : basename(path)),
    kind,
    tokens: packTokens,
    fullTokens: entry.tokens,
    approximate,
    includedFiles: level === "excluded" ? 0 : 1,
    files: 1,
    level,
    reason: remark === undefined ? reason : `${remark}; ${reason}`,
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
const orders: Record<BudgetSort, (a: Item, b: Item) => number> = {
  tokens: (a, b) => outLast(a, b) || b.tokens - a.tokens || byPath(a, b),
  path: byPath,
  changed: (a, b) => outLast(a, b) || b.mtimeMs - a.mtimeMs || byPath(a, b),
};

function outLast(a: Item, b: Item): number {
  return Number(a.excluded !== undefined) - Number(b.excluded !== undefined);
}
