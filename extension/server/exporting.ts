import { open, rename, rm } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { EngineError, throwIfAborted } from "../../engine/errors.ts";
import { type PackFormat, type PackPart, packPieces } from "../../engine/pack/exportPack.ts";
import { numberedLines } from "../../engine/pack/packToWindow.ts";
import { type CountedEntry, filesOf, type LeveledEntry } from "./budgetTable.ts";
import type { PackExport } from "./requests.ts";
import { suspectedFiles } from "./packSecrets.ts";
import type { WorkspaceCounts } from "./state.ts";
import { readTextFile } from "./textFile.ts";
import { byPath } from "./walk.ts";

export interface ExportAsk {
  format: PackFormat;
  /** Paths that go in although something in them looks like a secret. */
  allowSecretsIn: readonly string[];
  /** Absolute path; undefined: the text is the answer. */
  file?: string;
}

/** A longer text would keep the editor from drawing while it crosses to it. */
const mostCharacters = 8 * 1024 * 1024;

/**
 * The pack as the levels say, in path order, git's rows last. A file in which something looks like a secret, or whose name says that it holds
 * one, is withheld unless it is allowed: packs are made to be given away. Throws `aborted`, and `limit-exceeded` for a text that is too long.
 */
export async function exportPack(
  counts: WorkspaceCounts,
  { format, allowSecretsIn, file }: ExportAsk,
  signal: AbortSignal,
): Promise<PackExport> {
  if (file !== undefined && !isAbsolute(file))
    throw new EngineError("bad-argument", `"${file}" is not absolute`, "give the full path");
  await counts.settled();
  const files = includedFiles(counts);
  const withheld = await secretsIn(counts, files, new Set(allowSecretsIn), signal);
  const paths = new Set(withheld.map(({ path }) => path));
  const parts: PackPart[] = [];
  for (const one of files) {
    throwIfAborted(signal);
    if (!paths.has(one.entry.path)) parts.push(await partOf(counts, one));
  }
  const text = [...packPieces(parts, format)].join("");
  // Counted as it is written: the frame of a format is tokens too, and words may join where files meet.
  const [tokens = 0] = await counts.pool.call("texts", { texts: [text] }, { signal });
  const made = { tokens, files: parts.length, withheld };
  if (file !== undefined) {
    await writeWhole(file, text);
    return made;
  }
  if (text.length > mostCharacters) {
    const size = `${(text.length / 1e6).toFixed(1)} million characters`;
    throw new EngineError(
      "limit-exceeded",
      `the pack has ${size}, too many for the clipboard`,
      "export it to a file, or fit it to a window",
    );
  }
  return { ...made, text };
}

/** Files and git's rows that are not left out. */
function includedFiles({ table }: WorkspaceCounts): LeveledEntry[] {
  const included = (all: Iterable<LeveledEntry>): LeveledEntry[] =>
    [...all].filter(({ level }) => level !== "excluded").sort((a, b) => byPath(a.entry, b.entry));
  return [...included(filesOf(table.root)), ...included(table.git.files.values())];
}

/** Files of which text would go out and must not. A name alone gives nothing away. */
async function secretsIn(
  { knowledge }: WorkspaceCounts,
  files: readonly LeveledEntry[],
  allowed: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<{ path: string; reason: string }[]> {
  const entries = files.flatMap(({ entry, level }) => (level === "name" || allowed.has(entry.path) ? [] : [entry]));
  const suspected = await suspectedFiles(knowledge, entries, signal);
  return suspected.map(({ path, found }) => {
    const [first] = found ?? [];
    if (!first) return { path, reason: "it changed while it was looked at; export again" };
    return { path, reason: first.line === 0 ? first.message : `line ${first.line}: ${first.message}` };
  });
}

async function partOf(counts: WorkspaceCounts, { entry, level }: LeveledEntry): Promise<PackPart> {
  const { path, outline } = entry;
  if (level === "name") return { path, level };
  const text = await textOf(counts, entry);
  if (level === "outline" && outline && "lines" in outline) return { path, level, lines: numberedLines(text, outline.lines) };
  return { path, level: "full", text };
}

/** Throws `not-found` where the text is not the one that was counted and scanned. */
async function textOf({ editors, git }: WorkspaceCounts, { path, absolute, hash }: CountedEntry): Promise<string> {
  const given = editors.textAt(path) ?? git.textOf(path);
  if (given !== undefined) return given;
  const read = await readTextFile(absolute, { path });
  if ("utf8" in read && read.hash === hash) return new TextDecoder("utf-8", { ignoreBOM: true }).decode(read.utf8);
  const why = "reason" in read ? read.reason : "it changed since it was counted";
  throw new EngineError("not-found", `${path} cannot go into the pack: ${why}`, "export again", { path });
}

/** A pack that is half written is worse than none. */
async function writeWhole(file: string, text: string): Promise<void> {
  const written = `${file}.${process.pid}.part`;
  try {
    const handle = await open(written, "w");
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
    await rename(written, file);
  } catch (error) {
    await rm(written, { force: true });
    const because = error instanceof Error ? error.message : String(error);
    throw new EngineError("not-found", `the pack cannot be written: ${because}`, "choose another file", { file });
  }
}
