import type { Runner } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { QuoteIndex, QuoteState } from "./quote.ts";

export interface BestLineOptions {
  /** Holds the whole prompt and nothing behind it; afterwards the prompt and the tokens of the answer. */
  runner: Runner;
  /** Token ids of the prompt: what a cut takes away is run again. */
  prompt: Int32Array;
  quotes: QuoteIndex;
  /** Where the line begins: `quotes.start`, or `quotes.further` behind another line. */
  from: QuoteState;
  /** Longest answer; a line that is longer is cut. */
  maxTokens: number;
  signal?: AbortSignal;
  /** Tokens of the beginning that leads at the moment; a later call may take them back. */
  onLead(ids: readonly number[]): void;
}

export interface BestLine {
  /** Without the line break. */
  ids: number[];
  quote: QuoteState;
  stoppedBy: "end" | "length" | "user";
}

/** The beginning of a line, and the logarithm of the probability that the model gives it: the sum over its tokens. */
interface Beginning {
  ids: readonly number[];
  quote: QuoteState;
  logProb: number;
}

/**
 * The line of the files that the model finds most probable, as a whole and among all texts, not only among lines. Taking the
 * best allowed token at each step is not that: it commits to the first words, which several lines share, and what is forbidden then
 * hides that the model would rather not have gone there. Best first: the most probable beginning is continued next, and as
 * probabilities only fall along a line, the first whole line to come up is the most probable one. Once only one line is possible its
 * rest is judged in one pass. After MAX_PASSES it goes on from the best beginning alone.
 */
export async function mostProbableLine(options: BestLineOptions): Promise<BestLine> {
  const { runner, prompt, quotes, maxTokens, signal } = options;
  const branch = new Branch(runner, prompt, signal);
  let open: Beginning[] = [{ ids: [], quote: options.from, logProb: 0 }];
  let best: Beginning | undefined;
  try {
    for (let passes = 0; ; passes++) {
      best = takeMostProbable(open);
      if (best === undefined) throw new EngineError("internal", "no line of the files is possible", "report it");
      const { ids, quote } = best;
      if (ids.length > 0) options.onLead(ids);
      if (quote.end !== undefined) return { ...best, ids: await branch.settle(ids), stoppedBy: "end" };
      if (ids.length >= maxTokens) return { ...best, ids: await branch.settle(ids), stoppedBy: "length" };
      if (passes >= MAX_PASSES) open = [];
      const rest = quotes.rest(quote)?.slice(0, maxTokens - ids.length);
      open.push(...(rest ? [await judgeRest(branch, best, rest, quotes)] : await continuationsOf(branch, best, quotes)));
    }
  } catch (error) {
    if (!EngineError.is(error, "aborted") || best === undefined) throw error;
    // What lies behind the prompt may be another beginning: nobody may take it for this one.
    runner.truncate(prompt.length);
    return { ids: [...best.ids], quote: best.quote, stoppedBy: "user" };
  }
}

async function continuationsOf(branch: Branch, from: Beginning, quotes: QuoteIndex): Promise<Beginning[]> {
  const logits = await branch.logitsBehind(from.ids);
  const norm = logSumExp(logits);
  return quotes.continuations(from.quote).map((id) => {
    const quote = quotes.advance(from.quote, id);
    const ids = quote.end === "line" ? from.ids : [...from.ids, id];
    return { ids, quote, logProb: from.logProb + (logits[id] ?? -Infinity) - norm };
  });
}

/** `rest` is the only way on; all of its tokens are judged at once. */
async function judgeRest(branch: Branch, from: Beginning, rest: readonly number[], quotes: QuoteIndex): Promise<Beginning> {
  const rows = await branch.logitsAlong(from.ids, rest.slice(0, -1));
  let { quote, logProb } = from;
  for (const [i, id] of rest.entries()) {
    const row = rows[i] ?? new Float32Array(0);
    logProb += (row[id] ?? -Infinity) - logSumExp(row);
    quote = quotes.advance(quote, id);
  }
  return { ids: [...from.ids, ...(quote.end === "line" ? rest.slice(0, -1) : rest)], quote, logProb };
}

function takeMostProbable(open: Beginning[]): Beginning | undefined {
  let at = 0;
  for (const [i, one] of open.entries()) if (one.logProb > (open[at]?.logProb ?? -Infinity)) at = i;
  return open.splice(at, 1)[0];
}

/** A cache that is made to hold the prompt and one beginning after another. */
class Branch {
  private held: readonly number[] = [];

  constructor(
    private readonly runner: Runner,
    private readonly prompt: Int32Array,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Logits [V] of the token behind a beginning. */
  async logitsBehind(ids: readonly number[]): Promise<Float32Array> {
    return (await this.logitsAlong(ids, [])).at(-1) ?? new Float32Array(0);
  }

  /** Logits [V] of the token behind a beginning, then behind each token of its continuation. */
  async logitsAlong(ids: readonly number[], more: readonly number[]): Promise<Float32Array[]> {
    const whole = [...ids, ...more];
    const at = this.cutTo(ids);
    const missing = [...this.prompt.subarray(at), ...whole.slice(Math.max(0, at - this.prompt.length))];
    const flat = await this.append(missing, whole, more.length > 0 ? "all" : "last");
    const vocabSize = flat.length / (more.length > 0 ? missing.length : 1);
    const rows = Array.from({ length: flat.length / vocabSize }, (_, row) =>
      flat.subarray(row * vocabSize, (row + 1) * vocabSize),
    );
    return rows.slice(-1 - more.length);
  }

  /** Makes the cache the prompt and this answer. */
  async settle(ids: readonly number[]): Promise<number[]> {
    const held = this.prompt.length + ids.length;
    if (this.runner.length !== held || !sameIds(this.held, ids)) await this.logitsBehind(ids);
    return [...ids];
  }

  /** Drops what does not belong to a beginning, and at least its last token, whose logits are wanted; returns what is left. */
  private cutTo(ids: readonly number[]): number {
    let shared = 0;
    while (shared < ids.length && shared < this.held.length && ids[shared] === this.held[shared]) shared++;
    const wanted = Math.min(this.prompt.length + shared, this.prompt.length + ids.length - 1);
    this.held = ids.slice(0, shared);
    return this.runner.truncate(wanted);
  }

  private async append(missing: readonly number[], whole: readonly number[], logits: "all" | "last"): Promise<Float32Array> {
    const flat = await this.runner.append(missing, { signal: this.signal, logits });
    this.held = whole;
    if (!flat) throw new EngineError("internal", "the backend returned no logits", "report it with the name of the backend");
    return flat;
  }
}

function sameIds(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}

function logSumExp(logits: Float32Array): number {
  let largest = -Infinity;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return largest + Math.log(sum);
}

/** Passes through the model that one answer may cost beyond its own tokens: seconds on a slow machine. */
const MAX_PASSES = 96;
