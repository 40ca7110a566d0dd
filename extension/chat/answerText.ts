/** An answer's sentences as Markdown: what was found, what was not read, what it cost. No `vscode`. */
import type { AskEvent, AskPlan, AskResult, Citation } from "../../engine/generate/api.ts";
import { missingRows, missingText, type PackRow } from "../../engine/pack/api.ts";
import { exactTokens, filesText } from "../budget/numbers.ts";
import { inlineCode, literal } from "./markdown.ts";

/** Files named in one note; the playground shows them all. */
const mostFiles = 5;
const mostLooked = 3;

/** What the host knows of a question beside what the engine says. */
export interface QuestionFacts {
  /** What the question was limited to. */
  scope: string | undefined;
  /** What was attached and is not read. */
  notRead: readonly string[];
  /** Earlier turns that did not fit. */
  droppedTurns: number;
  /** What the model is called. */
  model: string;
}

/** Behind the answer and its citations: each a paragraph. */
export function answerNotes(result: AskResult, facts: QuestionFacts): string[] {
  const { stoppedBy, lookedAt, rows } = result;
  return [
    ...(stoppedBy === "length" ? ["The answer was cut at the largest answer length, which is set in the playground."] : []),
    ...(stoppedBy === "user" ? ["Stopped; this is what was written until then."] : []),
    ...scopeNotes(facts),
    ...leftOutNote(rows),
    ...lookedNote(lookedAt),
    costNote(result, facts.model),
  ];
}

/** The sentences around an answer's quotes as Markdown that shows just these. */
export function proseText({ prose, absent }: Pick<AskResult, "prose" | "absent">): string {
  const pieces = prose.split("`").map((piece, i) => (i % 2 === 1 ? inlineCode(piece) : literal(piece)));
  return `${absent ? "**Not found.** " : ""}${pieces.join("")}`;
}

/** What is said of quotes that are not in the files. */
export function unverifiedNote(citations: readonly Citation[]): string[] {
  const quotes = citations.filter(({ verified }) => !verified).map(({ quote }) => inlineCode(quote));
  if (quotes.length === 0) return [];
  return [`Not in the files word for word: ${quotes.slice(0, mostFiles).join(", ")}.`];
}

/** What asking would cost, and what it would leave out. */
export function planText(plan: AskPlan, facts: QuestionFacts): string[] {
  const { promptTokens, reusedTokens, restoredTokens, recomputedTokens, limit, rows } = plan;
  const read = rows.filter(({ included }) => included).length;
  const kept = restoredTokens > 0 ? `, ${exactTokens(restoredTokens)} of them on the disk` : "";
  const cached = reusedTokens > 0 ? `${exactTokens(reusedTokens)} are cached${kept}; ` : "";
  return [
    `Asking this reads **${exactTokens(promptTokens)} tokens** from ${filesText(read)} with ${literal(facts.model)}: ${cached}**${exactTokens(recomputedTokens)}** have to be computed.`,
    `The window is ${exactTokens(limit.tokens)} tokens. ${literal(limit.explanation)}`,
    ...scopeNotes(facts),
    ...leftOutNote(rows),
  ];
}

/** One line while a run goes on; undefined for events that are the answer itself. */
export function progressText(event: AskEvent): string | undefined {
  switch (event.type) {
    case "packing":
      return `Packing ${filesText(event.totalFiles)}`;
    case "packed": {
      const read = event.rows.filter(({ included }) => included).length;
      const missing = missingText(event.rows);
      return `Reading ${exactTokens(event.promptTokens)} tokens of ${filesText(read)}${missing === "" ? "" : `; ${missing}`}`;
    }
    case "prefill":
      return `Reading ${exactTokens(event.doneTokens)} of ${exactTokens(event.totalTokens)} tokens: ${event.path}`;
    case "candidate":
      return "Comparing lines";
    case "recovered":
      return `Starting again: ${event.because}`;
    case "token":
      return undefined;
  }
}

function scopeNotes({ scope, notRead, droppedTurns }: QuestionFacts): string[] {
  return [
    ...(scope === undefined ? [] : [`Read only ${literal(scope)}.`]),
    ...notRead.map((what) => `Not read: ${literal(what)}.`),
    ...(droppedTurns === 0
      ? []
      : [
          `Of this chat, ${droppedTurns === 1 ? "the oldest turn was" : `the ${droppedTurns} oldest turns were`} left out to make room.`,
        ]),
  ];
}

function leftOutNote(rows: readonly PackRow[]): string[] {
  const left = missingRows(rows);
  if (left.length === 0) return [];
  const shown = left.slice(0, mostFiles).map(({ path, reason }) => `${inlineCode(path)} (${literal(reason)})`);
  const more = left.length > mostFiles ? ` and ${left.length - mostFiles} more` : "";
  const whole = left.some(({ included }) => included) ? " whole" : "";
  return [`${left.length} of ${filesText(rows.length)} did not fit${whole}: ${shown.join(", ")}${more}.`];
}

/** Attention is never evidence, and is not called so. */
function lookedNote(lookedAt: AskResult["lookedAt"]): string[] {
  if (lookedAt.length === 0) return [];
  const shown = lookedAt.slice(0, mostLooked).map(({ path, share }) => `${inlineCode(path)} ${Math.round(100 * share)} %`);
  return [`Attended to most, which is no evidence: ${shown.join(", ")}.`];
}

function costNote(result: AskResult, model: string): string {
  const { promptTokens, reusedTokens, restoredTokens, backend, backendBecause, timings } = result;
  const kept = restoredTokens > 0 ? `, ${exactTokens(restoredTokens)} of them from the disk` : "";
  const cached = reusedTokens > 0 ? `, ${exactTokens(reusedTokens)} of them cached${kept}` : "";
  const seconds = ((timings.packMs + timings.prefillMs + timings.decodeMs) / 1000).toFixed(1);
  const where = { wgsl: "WebGPU", ort: "WASM", reference: "the reference" }[backend];
  return `${exactTokens(promptTokens)} prompt tokens${cached}; ${literal(model)} on ${where} in ${seconds} s (${literal(backendBecause)}).`;
}
