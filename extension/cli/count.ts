import { EngineError } from "../../engine/errors.ts";
import { type Counted, FileCounter } from "../server/counts.ts";
import { byPath } from "../server/walk.ts";
import type { Command } from "./args.ts";
import { findFiles } from "./corpus.ts";
import { grouped, jsonLine, type Output, ProgressLine } from "./output.ts";
import { commandTokenizer } from "./tokenizer.ts";

/** `lcp count`: what the token server counts, without the server. Throws `limit-exceeded` where it is more than `--budget`. */
export async function count(
  command: Command & { name: "count" },
  packageRoot: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const startedMs = performance.now();
  const counter = new FileCounter(await commandTokenizer(command.tokenizer, packageRoot));
  const { files: found, excluded } = await findFiles(command.folder, signal);
  const perFile: { path: string; tokens: number }[] = [];
  let tokens = 0;
  let bytes = 0;
  const progress = new ProgressLine(output);
  const onCounted = (counted: Counted, done: number): void => {
    if ("excluded" in counted) excluded.push(counted.excluded);
    else {
      perFile.push({ path: counted.file.path, tokens: counted.file.tokens });
      tokens += counted.file.tokens;
      bytes += counted.file.sizeBytes;
    }
    if (output.terminal) progress.show(`${grouped(tokens)} tokens, ${done} / ${found.length} files`, done / found.length);
  };
  await counter.countAll(found, onCounted, signal);
  progress.clear();
  excluded.sort(byPath);
  const elapsedMs = Math.round(performance.now() - startedMs);
  if (command.json) {
    const files = perFile.length;
    output.out(jsonLine({ tokens, bytes, files, excluded, elapsedMs, ...(command.perFile ? { perFile } : {}) }));
    checkBudget(command, tokens);
    return;
  }
  if (command.perFile) for (const row of perFile) output.out(`${grouped(row.tokens).padStart(11)}  ${row.path}\n`);
  output.out(
    `${grouped(tokens)} tokens in ${grouped(perFile.length)} files, ${grouped(bytes)} bytes, ${grouped(elapsedMs)} ms\n`,
  );
  if (excluded.length > 0) output.out(`${grouped(excluded.length)} left out:\n`);
  for (const row of excluded) output.out(`  ${row.path}  (${row.reason})\n`);
  checkBudget(command, tokens);
}

/** Fails a build that is over its budget, after the counts are out. */
function checkBudget({ budget, folder }: Command & { name: "count" }, tokens: number): void {
  if (budget === undefined || tokens <= budget) return;
  const message = `${folder} has ${grouped(tokens)} tokens, ${grouped(tokens - budget)} over the budget of ${grouped(budget)}`;
  throw new EngineError("limit-exceeded", message, "leave files out with .longcontextignore, or raise --budget", {
    tokens,
    budget,
  });
}
