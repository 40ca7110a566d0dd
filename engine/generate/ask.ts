import type { ModelSpec, Runner } from "../api.ts";
import type { AskEvent, AskRequest, AskResult, AttendedPrecision, Citation } from "./api.ts";
import { abortedError, EngineError, throwIfAborted } from "../errors.ts";
import type { BodyCache } from "../pack/body.ts";
import type { ChatTemplate } from "../pack/chatTemplate.ts";
import { type Pack, packFiles } from "../pack/pack.ts";
import { ABSENT_ANSWER, type Prompt, saysAbsent } from "../pack/prompt.ts";
import type { ResolvedRope } from "../position/choose.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { attendedRuns } from "./attended.ts";
import { citeLines, type CiteOptions, citePlaces, citeText, lookedAt } from "./cite.ts";
import { type Decoded, decodeTokens } from "./decode.ts";
import type { HeldTokens } from "./heldTokens.ts";
import type { PrefixPlace } from "./prefixPlace.ts";
import { EVENT_MS, prefill, throttle } from "./prefill.ts";
import { proseOf } from "./prose.ts";
import { type AnswerLines, firstPrompt, isConstrained, narrowed, quotesAmong } from "./narrow.ts";
import type { QuoteIndex } from "./quote.ts";
import { decodeQuotedLines, MAX_ANSWER_LINES, type QuotedLine } from "./quotedLines.ts";
import type { WindowChooser } from "./window.ts";

/** What stays the same whichever backend runs. */
export interface AskModel {
  spec: ModelSpec;
  tokenizer: Tokenizer;
  chatTemplate: ChatTemplate | undefined;
  /** Tokens that end an answer. */
  stopIds: ReadonlySet<number>;
  /** Undefined where nobody measured it for this model. */
  attendedPrecision: AttendedPrecision | undefined;
  bodies: BodyCache;
}

/** A backend with what is in its cache. */
export interface AskEngine {
  held: HeldTokens;
  window: WindowChooser;
  /** Undefined where nothing is kept beyond the runner. */
  prefixes: PrefixPlace | undefined;
  /** The question that was answered last, while its context is in the cache; see preview.ts. */
  asked: AskedPrompt | undefined;
}

/** A question with its prompt. */
export interface AskedPrompt {
  request: AnswerRequest;
  packed: PackedPrompt;
  attention: AskRequest["attention"] | undefined;
  /** What the model said, and where that stands. */
  answer: Pick<Answered, "answer" | "citations"> & { ids: readonly number[] };
}

/** What of a request matters once the prompt is there. */
export type AnswerRequest = Pick<AskRequest, "question" | "sampling" | "quote" | "maxAnswerTokens">;

/** An AskResult without what only the session knows. */
export type Answered = Omit<AskResult, "backend" | "backendBecause" | "device" | "kv">;

export type OnEvent = (event: AskEvent) => void;

/** One question from files to citations on one backend. */
export async function answerQuestion(
  model: AskModel,
  engine: AskEngine,
  request: AskRequest,
  signal: AbortSignal,
  onEvent: OnEvent,
): Promise<Answered> {
  const started = performance.now();
  engine.asked = undefined;
  const attention = attentionOf(model.spec, request);
  // Before anything is packed: what the backend cannot do is told at once.
  if (attention) engine.held.runner.setAttention(attention);
  const first = await packPrompt(model, engine.window, request, signal, onEvent);
  const prefillStarted = performance.now();
  const prefilled = await prefill(engine, first, attention, signal, onEvent);
  const decodeStarted = performance.now();
  const keptOfPrompt = engine.held.runner.keptMass;
  const packed = await narrowed(model, engine.held, first, attention, request, signal);
  const { part, ids } = await answerFrom(model, engine.held, packed, request, signal, onEvent);
  const { question, sampling, quote, maxAnswerTokens } = request;
  const { answer, citations } = part;
  const asked = { question, sampling, quote, maxAnswerTokens };
  engine.asked = { request: asked, packed, attention, answer: { answer, citations, ids } };
  return {
    question,
    ...part,
    promptTokens: packed.ids.length,
    ...prefilled,
    attendedPrecision: model.attendedPrecision,
    attentionFrom: engine.held.runner.tap.from ?? 0,
    answerStart: packed.ids.length,
    rope: packed.rope.scaling,
    attention,
    // Lines that are scored as wholes count as prompts too; only choosing pages is measured on what is decoded.
    keptMass: attention?.topPages === undefined ? keptOfPrompt : engine.held.runner.keptMass,
    cacheError: engine.held.runner.cacheError,
    denseScores: engine.held.runner.denseScores,
    ring: engine.held.runner.ring,
    limit: packed.rope.limit,
    rows: packed.pack.rows,
    packed: packed.pack.files,
    timings: {
      packMs: prefillStarted - started,
      prefillMs: decodeStarted - prefillStarted,
      decodeMs: performance.now() - decodeStarted,
    },
  };
}

/** How the request attends; models without keys do not. */
export function attentionOf(spec: ModelSpec, request: AskRequest): AskRequest["attention"] | undefined {
  return spec.kind === "decoder" ? request.attention : undefined;
}

export interface PackedPrompt {
  /** Its tokens are those before the question. */
  pack: Pack;
  ids: Int32Array<ArrayBuffer>;
  rope: ResolvedRope;
  /** The question as it is read, where the files tell which of its words is the name. */
  question?: string;
  /** Which lines a quote is chosen from; all of them where this is absent. */
  among?: AnswerLines | undefined;
}

/** Packs a question's prompt and chooses its rotation; one that is only planned leaves that of the turn before alone. */
export async function packPrompt(
  model: AskModel,
  window: WindowChooser,
  request: AskRequest,
  signal: AbortSignal,
  onEvent: OnEvent,
  use: "run" | "plan" = "run",
): Promise<PackedPrompt> {
  const asked = { rope: request.rope, attention: attentionOf(model.spec, request) };
  const { prompt, laterTokens } = firstPrompt(model, request);
  const answerTokens = laterTokens + request.maxAnswerTokens;
  const report = throttle(EVENT_MS);
  const pack = await packFiles({
    files: request.files,
    readFile: (file, stop) => request.readFile(file, stop),
    tokenizer: model.tokenizer,
    before: prompt.before,
    windowTokens: (needed) => window.windowFor(asked, needed),
    reserveTokens: prompt.after.length + answerTokens,
    first: request.first,
    questions: [...request.history.map((turn) => turn.question), request.question],
    cache: model.bodies,
    signal,
    onProgress: (doneFiles, totalFiles) => {
      if (report(doneFiles === totalFiles)) onEvent({ type: "packing", doneFiles, totalFiles });
    },
  });
  throwIfAborted(signal);
  const neededTokens = pack.ids.length + prompt.after.length + answerTokens;
  const rope = window[use === "run" ? "resolve" : "wouldResolve"](asked, pack.ids, neededTokens);
  checkFits(pack, prompt, rope, answerTokens);
  const ids = new Int32Array(pack.ids.length + prompt.after.length);
  ids.set(pack.ids);
  ids.set(prompt.after, pack.ids.length);
  onEvent({ type: "packed", rows: pack.rows, promptTokens: ids.length, limit: rope.limit, rope: rope.scaling });
  return { pack, ids, rope };
}

/** Throws `context-too-long` where the question alone, or every single file, is too long for the window. */
function checkFits(pack: Pack, prompt: Prompt, rope: ResolvedRope, answerTokens: number): void {
  const alone = prompt.before.length + prompt.after.length + answerTokens;
  const window = rope.limit.tokens;
  if (alone < window && pack.files.length > 0) return;
  const remedy = "choose a RoPE scaling that reaches further, fewer or smaller files, or a shorter answer";
  const facts = { windowTokens: window, questionAndAnswerTokens: alone };
  if (alone >= window) {
    throw new EngineError(
      "context-too-long",
      `the question, its history and the answer take ${alone} of ${window} tokens`,
      remedy,
      facts,
    );
  }
  const smallest = Math.min(...pack.rows.map((row) => row.tokens));
  throw new EngineError(
    "context-too-long",
    `no file fits: the smallest needs ${smallest} tokens and ${window - alone} of ${window} are left`,
    remedy,
    { ...facts, smallestFileTokens: smallest },
  );
}

export type AnswerPart = Pick<
  Answered,
  "answer" | "absent" | "prose" | "stoppedBy" | "citations" | "lookedAt" | "attended" | "answerTokens"
>;

/** Decodes and cites behind a prompt that is in the cache; `ids` are the answer's tokens. */
export async function answerFrom(
  model: AskModel,
  held: HeldTokens,
  packed: PackedPrompt,
  request: AnswerRequest,
  signal: AbortSignal,
  onEvent: OnEvent,
): Promise<{ part: AnswerPart; ids: readonly number[] }> {
  const { spec, tokenizer } = model;
  const { pack, ids, among } = packed;
  const extractive = spec.promptFormat === "extractive";
  const quotes = isConstrained(model, request) ? quotesAmong(model, pack, among) : undefined;
  const common = {
    runner: held.runner,
    tokenizer,
    sampling: request.sampling,
    stopIds: model.stopIds,
    maxTokens: request.maxAnswerTokens,
    signal,
    onText: (text: string) => onEvent({ type: "token", text }),
  };
  const onCandidate = (text: string): void => onEvent({ type: "candidate", text });
  const maxLines = spec.answerLines === "many" ? MAX_ANSWER_LINES : 1;
  const quoted = quotes && (await decodeQuotedLines({ ...common, prompt: ids, quotes, maxLines, onCandidate }));
  const decoded: Decoded = quoted ?? (await decodeTokens(common));
  held.hold([...ids, ...decoded.ids]);
  // Stopped before it said anything: that is no answer, and the prompt stays read.
  if (decoded.stoppedBy === "user" && decoded.ids.length === 0) throw abortedError();
  const saidByToken = spec.absentTokenId !== undefined && decoded.ids[0] === spec.absentTokenId;
  const absent = saidByToken || (spec.promptFormat === "chat" && decoded.stoppedBy === "end" && saysAbsent(decoded.text));
  if (saidByToken) onEvent({ type: "token", text: ABSENT_ANSWER });
  const queries = answerQueries(held.runner, ids.length, decoded);
  const cite: CiteOptions = { pack, queries, pool: poolOf(held.runner, decoded) };
  const citations = async (): Promise<Citation[]> => {
    if (quotes && quoted) return citeQuoted(quoted.lines, quotes, cite);
    return extractive ? citeLines(decoded.text, cite) : citeText(decoded.text, cite);
  };
  const said = {
    answer: saidByToken ? ABSENT_ANSWER : extractive ? decoded.text : decoded.text.trim(),
    absent,
    citations: absent ? [] : await citations(),
  };
  const part: AnswerPart = {
    ...said,
    prose: proseOf({
      ...said,
      question: packed.question ?? request.question,
      rows: pack.rows,
      form: extractive ? "lines" : "text",
      among,
    }),
    stoppedBy: decoded.stoppedBy,
    lookedAt: await lookedAt(cite),
    attended: await attendedRuns(cite),
    answerTokens: decoded.ids.length,
  };
  return { part, ids: decoded.ids };
}

/** The last token of the prompt made the first of the answer, so its query belongs to it. */
function answerQueries(runner: Runner, answerStart: number, { ids }: Decoded) {
  return { start: answerStart - 1, end: Math.max(answerStart, Math.min(runner.length, answerStart + ids.length)) };
}

/** Attention is read for whole answers only: who stopped one does not wait for it. */
function poolOf(runner: Runner, decoded: Decoded): CiteOptions["pool"] {
  if (decoded.stoppedBy === "user" || runner.tap.layers.length === 0) return undefined;
  return (request) => runner.pool(request);
}

/** Every line's places, in the order of the lines. */
async function citeQuoted(lines: readonly QuotedLine[], quotes: QuoteIndex, cite: CiteOptions): Promise<Citation[]> {
  const citations: Citation[] = [];
  for (const line of lines) citations.push(...(await citeQuote(line, quotes.occurrences(line.quote), cite)));
  return citations;
}

/** An unfinished quote is cited once few lines remain that it can be the beginning of; it quotes only what was said. */
async function citeQuote(
  { text, quote }: QuotedLine,
  places: ReturnType<QuoteIndex["occurrences"]>,
  cite: CiteOptions,
): Promise<Citation[]> {
  if (quote.end === "line") return citePlaces(places, cite);
  if (text.trim() === "" || places.length > MAX_UNFINISHED_PLACES) return [];
  const citations = await citePlaces(places, cite);
  return citations.map((citation) => (citation.quote.startsWith(text) ? { ...citation, quote: text } : citation));
}

const MAX_UNFINISHED_PLACES = 8;
