import { readFile, writeFile } from "node:fs/promises";
import { EngineError, throwIfAborted } from "../../engine/errors.ts";
import { type ContextSet, levelOf, parseContextSet } from "../../engine/pack/contextSet.ts";
import { readMentions } from "../../engine/pack/mentions.ts";
import { packToWindow, type PackSource, type WindowPack } from "../../engine/pack/packToWindow.ts";
import { namesIn, rankFiles } from "../../engine/pack/rank.ts";
import type { ExcludedRow } from "../server/requests.ts";
import type { Command } from "./args.ts";
import { freeze } from "./corpus.ts";
import { grouped, jsonLine, type Output, ProgressLine } from "./output.ts";
import { commandTokenizer } from "./tokenizer.ts";

interface ReadFile {
  path: string;
  text: string;
  mtimeMs: number;
}

/** `lcp pack`: what of a folder fits a window, written down for another program, with the reason for every file. */
export async function pack(
  command: Command & { name: "pack" },
  packageRoot: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const set = command.set === undefined ? undefined : await readSet(command.set);
  const window = command.window ?? set?.window ?? DEFAULT_WINDOW;
  const reserve = command.reserve ?? set?.reserve ?? 0;
  if (reserve >= window) {
    const message = `${grouped(reserve)} of ${grouped(window)} tokens are reserved, which leaves none`;
    throw new EngineError("bad-argument", message, "choose a larger window or a smaller reserve", { window, reserve });
  }
  const tokenizer = await commandTokenizer(command.tokenizer ?? set?.tokenizer, packageRoot);
  const { files, excluded } = await readFolder(command.folder, output, signal);
  const sources = sourcesOf(files, set, command.question);
  const packed = await packToWindow(sources, { tokenizer, format: command.format, budgetTokens: window - reserve, signal });
  await show(command, packed, { window, reserve, excluded }, output);
}

async function readFolder(
  folder: string,
  output: Output,
  signal: AbortSignal,
): Promise<{ files: ReadFile[]; excluded: ExcludedRow[] }> {
  const { files, excluded, readFile: readFrozen } = await freeze(folder, signal);
  const decoder = new TextDecoder("utf-8");
  const progress = new ProgressLine(output);
  const read: ReadFile[] = [];
  for (const file of files) {
    throwIfAborted(signal);
    read.push({ path: file.path, text: decoder.decode(await readFrozen(file)), mtimeMs: 0 });
    if (output.terminal) progress.show(`reading ${read.length} / ${files.length} files`, read.length / files.length);
  }
  progress.clear();
  return { files: read, excluded };
}

/** Every file with its rank, in path order, so that a prefix stays the same while ranks move. A context set pins levels. */
function sourcesOf(files: readonly ReadFile[], set: ContextSet | undefined, question: string): PackSource[] {
  const named = files.map(({ path, text, mtimeMs }) => ({ path, mtimeMs, ...namesIn(text) }));
  const ranks = rankFiles(named, {
    open: new Set(),
    pinned: new Set(),
    mentions: readMentions(question === "" ? [] : [question]),
  });
  return files.map(({ path, text }) => {
    const { rank, reasons } = ranks.get(path) ?? { rank: 0, reasons: [] };
    const { level, key } = levelOf(set?.levels ?? {}, path);
    return {
      path,
      text,
      rank,
      reasons,
      ...(key === undefined ? {} : { pinned: level }),
    };
  });
}

async function show(
  command: Command & { name: "pack" },
  packed: WindowPack,
  facts: { window: number; reserve: number; excluded: readonly ExcludedRow[] },
  output: Output,
): Promise<void> {
  const { text, tokens, rows } = packed;
  const { window, reserve, excluded } = facts;
  if (command.out !== undefined) await writeFile(command.out, text);
  const count = (level: string): number => rows.filter((row) => row.level === level).length;
  if (command.json) {
    output.out(jsonLine({ window, reserve, tokens, rows, excluded, text }));
    return;
  }
  if (command.out === undefined) output.out(text);
  output.err(
    `${grouped(tokens)} of ${grouped(window - reserve)} tokens: ${grouped(count("full"))} files whole, ${grouped(count("outline"))} outlined, ` +
      `${grouped(count("name"))} by name, ${grouped(count("excluded"))} dropped; ${grouped(excluded.length)} never looked into\n`,
  );
  for (const row of rows) if (row.level !== "full") output.err(`  ${row.path}  (${row.reason})\n`);
}

async function readSet(file: string): Promise<ContextSet> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new EngineError("not-found", `the context set cannot be read: ${because}`, "give the path of its JSON file", { file });
  }
  return parseContextSet(text);
}

/** Tokens of a window when neither the command nor a context set names one. */
const DEFAULT_WINDOW = 8000;
