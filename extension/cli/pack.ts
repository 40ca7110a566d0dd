import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "../../engine/errors.ts";
import { type ContextSet, parseContextSet } from "../../engine/pack/contextSet.ts";
import { packToWindow, type WindowPack } from "../../engine/pack/packToWindow.ts";
import { costText, type QuestionCost, questionCost, readPrices } from "../../engine/pack/price.ts";
import { bundledModelFolder } from "../models/location.ts";
import { openThreadPool } from "../server/countPool.ts";
import type { ExcludedRow } from "../server/requests.ts";
import { byPath } from "../server/walk.ts";
import { settingDefaults } from "../settings.ts";
import type { Command } from "./args.ts";
import { findFiles } from "./corpus.ts";
import { grouped, jsonLine, type Output, OverBudget, ProgressLine } from "./output.ts";
import { packSources } from "./packFolder.ts";
import { commandTokenizer } from "./tokenizer.ts";

type PackCommand = Command & { name: "pack" };

/** What the pack was made for, and what became of what is not in it. */
interface Facts {
  window: number;
  reserve: number;
  excluded: readonly ExcludedRow[];
  costs: readonly QuestionCost[];
}

/**
 * `lcp pack`: what of a folder fits a window, written down for another program, with the reason for every file. Throws `OverBudget` where
 * everything at its chosen level is more than `--budget`.
 */
export async function pack(command: PackCommand, packageRoot: string, output: Output, signal: AbortSignal): Promise<void> {
  const set = command.set === undefined ? undefined : parseContextSet(await readText(command.set, "the context set"));
  const prices = command.prices === undefined ? [] : readPrices(parseJson(await readText(command.prices, "the price table")));
  const window = command.window ?? set?.window ?? DEFAULT_WINDOW;
  const reserve = command.reserve ?? set?.reserve ?? 0;
  if (reserve >= window) {
    const message = `${grouped(reserve)} of ${grouped(window)} tokens are reserved, which leaves none`;
    throw new EngineError("bad-argument", message, "choose a larger window or a smaller reserve", { window, reserve });
  }
  const source = command.tokenizer ?? set?.tokenizer;
  const tokenizer = await commandTokenizer(source, packageRoot);
  const { packed, excluded } = await packFolder(command, set, packageRoot, output, signal, async (sources, onProgress) =>
    packToWindow(sources, { tokenizer, format: command.format, budgetTokens: window - reserve, signal, onProgress }),
  );
  const costs = prices.map((price) => questionCost(price, packed.tokens, reserve));
  await show(command, packed, { window, reserve, excluded, costs }, output);
  const { budget } = command;
  if (budget !== undefined && packed.neededTokens > budget) {
    const remedy = "leave files out with .longcontextignore or a context set, or raise --budget";
    throw new OverBudget(`what ${command.folder} wants in the pack`, packed.neededTokens, budget, remedy);
  }
}

/** Reads the folder with threads beside this one, then lets `fit` choose. */
async function packFolder(
  command: PackCommand,
  set: ContextSet | undefined,
  packageRoot: string,
  output: Output,
  signal: AbortSignal,
  fit: (
    sources: Awaited<ReturnType<typeof packSources>>["sources"],
    onProgress: (done: number, all: number) => void,
  ) => Promise<WindowPack>,
): Promise<{ packed: WindowPack; excluded: ExcludedRow[] }> {
  const tokenizerSource = command.tokenizer ?? set?.tokenizer ?? bundledModelFolder(packageRoot);
  const pool = openThreadPool(join(packageRoot, "dist", "countWorker.js"), tokenizerSource);
  const progress = new ProgressLine(output);
  const show = (what: string) => (done: number, all: number) => {
    if (output.terminal) progress.show(`${what} ${done} / ${all} files`, done / all);
  };
  try {
    const found = await findFiles(command.folder, signal, command.include);
    const { sources, excluded } = await packSources({
      folder: command.folder,
      files: found.files,
      pool,
      levels: set?.levels ?? {},
      question: command.question,
      allowSecrets: command.allowSecrets,
      commits: command.git ? settingDefaults.gitCommits : undefined,
      signal,
      onProgress: show("reading"),
    });
    const packed = await fit(sources, show("counting"));
    return { packed, excluded: [...found.excluded, ...excluded].sort(byPath) };
  } finally {
    progress.clear();
    pool.dispose();
  }
}

async function show(command: PackCommand, packed: WindowPack, facts: Facts, output: Output): Promise<void> {
  const { text, tokens, neededTokens, rows } = packed;
  const { window, reserve, excluded, costs } = facts;
  if (command.out !== undefined) await writeFile(command.out, text);
  if (command.json) {
    const costed = costs.map(({ price, input, output: answer }) => ({
      model: price.model,
      currency: price.currency,
      input,
      answer,
    }));
    output.out(jsonLine({ window, reserve, tokens, neededTokens, rows, excluded, costs: costed, text }));
    return;
  }
  if (command.out === undefined) output.out(text);
  const count = (level: string): string => grouped(rows.filter((row) => row.level === level).length);
  output.err(
    `${grouped(tokens)} of ${grouped(window - reserve)} tokens: ${count("full")} files whole, ${count("outline")} outlined, ` +
      `${count("name")} by name, ${count("excluded")} dropped; ${grouped(excluded.length)} left out before\n`,
  );
  for (const row of rows) if (row.level !== "full") output.err(`  ${row.path}  (${row.reason})\n`);
  for (const { path, reason, kind } of excluded) if (kind === "secret") output.err(`  ${path}  (withheld: ${reason})\n`);
  for (const cost of costs) output.err(`${costText(cost)}\n`);
}

async function readText(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new EngineError("not-found", `${what} cannot be read: ${because}`, "give the path of its JSON file", { file });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new EngineError("bad-argument", `the price table is not JSON: ${because}`, "mend the file");
  }
}

/** Tokens of a window when neither the command nor a context set names one. */
const DEFAULT_WINDOW = 8000;
