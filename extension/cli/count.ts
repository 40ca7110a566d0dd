import { join } from "node:path";
import { bundledModelFolder } from "../models/location.ts";
import { countFiles } from "../server/countFiles.ts";
import { openThreadPool } from "../server/countPool.ts";
import { fromAnswer } from "../server/fileEntries.ts";
import { byPath, maxFileBytes } from "../server/walk.ts";
import type { Command } from "./args.ts";
import { findFiles } from "./corpus.ts";
import { grouped, jsonLine, type Output, OverBudget, ProgressLine } from "./output.ts";

/** `lcp count`: what the token server counts, without the server. Throws `OverBudget` where it is more than `--budget`. */
export async function count(
  command: Command & { name: "count" },
  packageRoot: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const startedMs = performance.now();
  const pool = openThreadPool(join(packageRoot, "dist", "countWorker.js"), command.tokenizer ?? bundledModelFolder(packageRoot));
  const progress = new ProgressLine(output);
  const perFile: { path: string; tokens: number }[] = [];
  let tokens = 0;
  let bytes = 0;
  let done = 0;
  try {
    // The threads read the tokenizer while the folder is walked; a wrong one is told before anything else.
    const opened = pool.opened();
    const { files, excluded } = await findFiles(command.folder, signal, command.include);
    await opened;
    await countFiles(
      files.map((found) => ({ found })),
      {
        pool,
        maxFileBytes,
        signal,
        onCounted: (found, answer) => {
          done++;
          const read = fromAnswer(found, answer);
          if ("row" in read) excluded.push(read.row);
          else {
            perFile.push({ path: found.path, tokens: read.entry.tokens });
            tokens += read.entry.tokens;
            bytes += read.entry.sizeBytes;
          }
          if (!output.terminal) return;
          progress.show(`${grouped(tokens)} tokens, ${done} / ${files.length} files`, done / files.length);
        },
      },
    );
    progress.clear();
    excluded.sort(byPath);
    perFile.sort(byPath);
    const elapsedMs = Math.round(performance.now() - startedMs);
    if (command.json) {
      const counted = { tokens, bytes, files: perFile.length, excluded, elapsedMs };
      output.out(jsonLine({ ...counted, ...(command.perFile ? { perFile } : {}) }));
    } else {
      if (command.perFile) for (const row of perFile) output.out(`${grouped(row.tokens).padStart(11)}  ${row.path}\n`);
      const files = `${grouped(tokens)} tokens in ${grouped(perFile.length)} files`;
      output.out(`${files}, ${grouped(bytes)} bytes, ${grouped(elapsedMs)} ms\n`);
      if (excluded.length > 0) output.out(`${grouped(excluded.length)} left out:\n`);
      for (const row of excluded) output.out(`  ${row.path}  (${row.reason})\n`);
    }
    checkBudget(command, tokens);
  } finally {
    pool.dispose();
  }
}

/** Fails a build that is over its budget, after the counts are out. */
function checkBudget({ budget, folder }: Command & { name: "count" }, tokens: number): void {
  if (budget === undefined || tokens <= budget) return;
  throw new OverBudget(folder, tokens, budget, "leave files out with .longcontextignore, or raise --budget");
}
