import { EngineError, plainError } from "../../engine/errors.ts";
import { UsageError } from "./usages.ts";

/** Where a command writes; a test passes its own. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
  /** Whether `err` goes to a terminal, where one line can be written over. */
  readonly terminal: boolean;
}

/** Exit status and what is written for it. */
export interface Failure {
  exitCode: number;
  out: string;
  err: string;
}

/** What was asked for is written, and it is over the budget that was given with it; exit status 3. */
export class OverBudget extends EngineError {
  constructor(what: string, tokens: number, budget: number, remedy: string) {
    const over = `${grouped(tokens - budget)} over the budget of ${grouped(budget)}`;
    super("limit-exceeded", `${what} takes ${grouped(tokens)} tokens, ${over}`, remedy, { tokens, budget });
    this.name = "OverBudget";
  }
}

/** An error as the command line shows it: one line for people, and with `--json` an object for programs. */
export function failureOf(error: unknown, json: boolean): Failure {
  if (error instanceof UsageError) {
    const plain = { code: "bad-argument", message: error.message, remedy: `usage: ${error.usage}` };
    return failure(2, plain, json);
  }
  // 128 + SIGINT, as shells expect of a program that was interrupted. Nothing outlives the process, so nothing was kept.
  if (EngineError.is(error, "aborted"))
    return failure(130, { code: error.code, message: error.message, remedy: "run it again" }, json);
  // The result is on standard output already, and a second document behind it would be no JSON any more.
  if (error instanceof OverBudget) return failure(3, error, false);
  const { code, message, remedy } = plainError(error);
  return failure(1, { code, message, remedy }, json);
}

function failure(exitCode: number, plain: { code: string; message: string; remedy: string }, json: boolean): Failure {
  const err = `lcp: ${oneLine(plain.message)} — ${oneLine(plain.remedy)}\n`;
  return { exitCode, err, out: json ? jsonLine({ error: plain }) : "" };
}

/** One JSON document on one line; typed arrays become arrays of numbers. */
export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value, (_key, part: unknown) => (ArrayBuffer.isView(part) && "length" in part ? [...(part as Uint32Array)] : part))}\n`;
}

/** 9,812 as "9.8K": for progress, where the digits behind only flicker. */
export function short(tokens: number): string {
  if (tokens < 1000) return String(tokens);
  return tokens < 1_000_000 ? `${(tokens / 1000).toFixed(1)}K` : `${(tokens / 1_000_000).toFixed(2)}M`;
}

/** A number with thousands separators, the same on every machine. */
export function grouped(value: number): string {
  return value.toLocaleString("en-US");
}

/** Progress on standard error: one line written over in a terminal, else a line at each quarter. */
export class ProgressLine {
  private readonly output: Output;
  private open = false;
  private quarter = -1;

  constructor(output: Output) {
    this.output = output;
  }

  show(text: string, fraction: number): void {
    if (this.output.terminal) {
      this.output.err(`\r\u001b[2K${text}`);
      this.open = true;
      return;
    }
    const quarter = Math.floor(fraction * 4);
    if (quarter === this.quarter) return;
    this.quarter = quarter;
    this.output.err(`${text}\n`);
  }

  /** Removes the line, so that what follows starts at the margin. */
  clear(): void {
    if (this.open) this.output.err("\r\u001b[2K");
    this.open = false;
    this.quarter = -1;
  }
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ");
}
