import type { CountedEntry } from "./budgetTable.ts";
import type { CountAnswer, CountedText } from "./countJobs.ts";
import { type IndexEntry, isRacy } from "./persistentIndex.ts";
import type { ExcludedRow, FileMark } from "./requests.ts";
import type { KnownScan } from "./textKnowledge.ts";
import type { FoundFile } from "./walk.ts";

/** A file as its reading left it: an entry of the table, or a row of what is not counted; and what the index keeps of it. */
export type ReadFile = { entry: CountedEntry } | { row: ExcludedRow; kept: IndexEntry | undefined };

/** What a counting thread found out about a file. */
export function fromAnswer(found: FoundFile, answer: CountAnswer): ReadFile {
  if ("hash" in answer) return { entry: fromText(found, answer) };
  const { reason, kind, sizeBytes, mtimeMs, readAtMs } = answer;
  const known = sizeBytes !== undefined && mtimeMs !== undefined && kind !== "unreadable";
  return {
    row: { path: found.path, reason, kind },
    kept: known
      ? { absolute: found.absolute, sizeBytes, mtimeMs, racy: isRacy(mtimeMs, readAtMs), known: { reason, kind } }
      : undefined,
  };
}

/** What the index says of a file that has not changed since; `undefined` where it has, or may have. */
export function fromIndex(found: FoundFile, index: IndexEntry): ReadFile | undefined {
  const { known } = index;
  if (index.racy || index.sizeBytes !== found.sizeBytes || index.mtimeMs !== found.mtimeMs) return undefined;
  if (!("hash" in known)) return { row: { path: found.path, ...known }, kept: index };
  // The line that names it is another one in another workspace.
  if (known.path !== found.path) return undefined;
  const entry = textEntry(found, found, known, false);
  if (known.outline) entry.outline = known.outline;
  return { entry };
}

/** What the index keeps of an entry, with what a scan of its text found; undefined for an estimate and for what is not on disk. */
export function toIndex(entry: CountedEntry, scan?: KnownScan): IndexEntry | undefined {
  const { absolute, sizeBytes, mtimeMs, racy, hash, tokens, bodyTokens, nameTokens, path, marks, outline } = entry;
  if (entry.approximate || absolute === "") return undefined;
  const known = { hash, tokens, bodyTokens, nameTokens, path, marks: [...marks], outline, scan };
  return { absolute, sizeBytes, mtimeMs, racy, known };
}

/** A file that is not read yet, with the tokens it is expected to have. */
export function expected(found: FoundFile, tokens: number): CountedEntry {
  const nameTokens = Math.ceil(found.path.length / 4) + 4;
  const entry = textEntry(found, found, { hash: "", tokens, bodyTokens: tokens, nameTokens, marks: noMarks }, true);
  entry.approximate = true;
  return entry;
}

const noMarks: readonly FileMark[] = [];

/** Whether two entries show the same to everyone. */
export function sameEntry(a: CountedEntry | undefined, b: CountedEntry | undefined): boolean {
  return a?.hash === b?.hash && a?.tokens === b?.tokens && a?.mtimeMs === b?.mtimeMs && a?.approximate === b?.approximate;
}

function fromText(found: FoundFile, text: CountedText): CountedEntry {
  return textEntry(found, text, text, isRacy(text.mtimeMs, text.readAtMs));
}

/** One literal for all: thousands of entries are made at once, and spreading objects into each other took most of that time. */
function textEntry(
  { path, absolute }: FoundFile,
  { sizeBytes, mtimeMs }: Pick<CountedEntry, "sizeBytes" | "mtimeMs">,
  { hash, tokens, bodyTokens, nameTokens, marks }: Pick<CountedEntry, "hash" | "tokens" | "bodyTokens" | "nameTokens" | "marks">,
  racy: boolean,
): CountedEntry {
  const approximate = false;
  return { path, kind: "file", absolute, sizeBytes, mtimeMs, hash, tokens, bodyTokens, nameTokens, marks, approximate, racy };
}
