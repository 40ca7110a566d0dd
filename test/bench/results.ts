/**
 * What benches share: where measured figures are kept (test/bench/results/<name>.json, or in the folder BENCH_RESULTS, with the date, the
 * machine and the command), and medians.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";

/** The middle value; NaN of none. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

export function keepResults(name: string, command: string, figures: Record<string, unknown>): void {
  const machine = {
    processor: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: process.platform,
    node: process.versions.node,
  };
  const folder = process.env.BENCH_RESULTS ?? join("test", "bench", "results");
  mkdirSync(folder, { recursive: true });
  const content = { date: new Date().toISOString().slice(0, 10), machine, command, figures };
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(content, null, 2)}\n`);
}
