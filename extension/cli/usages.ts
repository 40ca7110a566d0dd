import type { BackendChoice, MatmulPrecision, WeightFormat } from "../../engine/api.ts";
import { kvFormats } from "../../engine/kv-cache/kvFormats.ts";
import { packFormats } from "../../engine/pack/exportPack.ts";

export const backends = ["auto", "wgsl", "ort", "reference"] as const satisfies readonly BackendChoice[];
export const weightFormats = ["file", "f32", "q8_0", "q4_0"] as const satisfies readonly WeightFormat[];
export const precisions = ["exact", "fast"] as const satisfies readonly MatmulPrecision[];
export const quotes = ["constrained", "free"] as const;

const backendUsage = `[--model <folder>] [--backend ${backends.join("|")}]`;
const quantUsage = `[--quant ${weightFormats.join("|")}] [--products ${precisions.join("|")}]`;
const kvUsage = `[--kv ${kvFormats.join("|")} or <keys>,<values>]`;
const modelUsage = `${backendUsage} [--rope <kind, JSON or .json file>] [--attention <policy>] ${kvUsage} ${quantUsage}`;

/** One line per command, shown by `lcp help` and with every usage error. */
export const usages = {
  count: "lcp count <folder> [--tokenizer <name or path>] [--include <glob>]... [--files] [--budget N] [--json]",
  pack:
    `lcp pack <folder> [--window N] [--reserve N] [--set <file>] [--format ${packFormats.join("|")}] [--question "..."] ` +
    "[--tokenizer <name or path>] [--include <glob>]... [--git] [--allow-secrets <path>]... [--prices <file>] [--budget N] [--out <file>] [--json]",
  ask: `lcp ask <folder> "<question>" ${modelUsage} [--max-tokens N] [--temperature T] [--top-p P] [--seed N] [--quote ${quotes.join("|")}] [--prefix-cache <folder>] [--prefix-cache-max <size>] [--json]`,
  logits: `lcp logits --ids 1,2,3 ${modelUsage} [--all] [--json]`,
  "rope-search":
    `lcp rope-search <folder> --target-length N ${backendUsage} ${quantUsage} [--documents N] [--population N] [--iterations N] [--seed N] ` +
    "[--include <glob>]... [--out <rope.json>] [--resume <state.json>] [--json]",
  plan:
    `lcp plan --tokens N ${modelUsage.replace("<folder>", "<folder, config.json or .gguf>")} [--bits B] [--memory <size>] [--all] ` +
    "[--no-measure] [--flops <TFLOP/s>] [--bandwidth <GB/s>] [--ranks N --link <GB/s>] [--json]",
  "eval-answers":
    `lcp eval-answers <folder> ${modelUsage} [--lengths N,N,...,whole] [--per-type N] [--seed N] ` +
    "[--include <glob>]... [--json <file>] [--attended <file>]",
  doctor: "lcp doctor [--model <folder>] [--json]",
} as const;

export type Named = keyof typeof usages;

/** The command line was written wrongly; exit status 2. */
export class UsageError extends Error {
  readonly usage: string;

  constructor(message: string, usage: string) {
    super(message);
    this.name = "UsageError";
    this.usage = usage;
  }
}
