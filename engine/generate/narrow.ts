/** A question's answer is looked for where it can stand: among the lines that hold the name, or around the name's definition, which is asked for first. */
import type { AttentionChoice } from "../attention/api.ts";
import { throwIfAborted } from "../errors.ts";
import type { Pack } from "../pack/pack.ts";
import { planPrompt, type Prompt } from "../pack/prompt.ts";
import { firstLines, type Holding, linesAround, type MayAnswer, type Search, searchFor } from "./answerLines.ts";
import type { AskRequest } from "./api.ts";
import type { AskModel, PackedPrompt } from "./ask.ts";
import type { HeldTokens } from "./heldTokens.ts";
import { QuoteIndex, type QuotePlace } from "./quote.ts";
import { decodeQuotedLines } from "./quotedLines.ts";

/** The lines that an answer is chosen from. */
export interface AnswerLines {
  mayAnswer: MayAnswer;
  /** They bear out what is asked: the model cannot say that there is no answer. */
  isAnswered?: boolean;
  /** The definition that they stand around. */
  found?: FoundDefinition;
  /** Why there is none of them, as a sentence. */
  nothing?: string;
}

export interface FoundDefinition {
  name: string;
  text: string;
  places: readonly QuotePlace[];
}

/** Tokens of a definition's line, at most. */
const DEFINITION_TOKENS = 64;

/** Whether answers are lines of the files and nothing else. */
export function isConstrained({ spec }: AskModel, request: Pick<AskRequest, "quote">): boolean {
  return spec.promptFormat === "extractive" && request.quote === "constrained";
}

/** The lines of a pack that an answer may be, and unless these answer what is asked, the word that there is none. */
export function quotesAmong({ spec, tokenizer }: AskModel, pack: Pack, among: AnswerLines | undefined): QuoteIndex {
  const absentTokenId = among?.isAnswered ? undefined : spec.absentTokenId;
  return new QuoteIndex({ pack, tokenizer, vocabSize: spec.vocabSize, absentTokenId, mayAnswer: among?.mayAnswer });
}

/** The prompt that is read with the files, and how many tokens come behind it before the answer begins. */
export function firstPrompt(model: AskModel, request: AskRequest): { prompt: Prompt; laterTokens: number } {
  const { question, history } = request;
  const first = isConstrained(model, request) ? searchFor(question)?.definitionFirst : undefined;
  if (first === undefined) return { prompt: planPrompt({ ...model, question, history }), laterTokens: 0 };
  const prompt = planPrompt({ ...model, question: first, history });
  const later = planPrompt({ ...model, question, history: [...history, { question: first, answer: "" }] });
  return { prompt, laterTokens: later.after.length - prompt.after.length + DEFINITION_TOKENS };
}

/**
 * The prompt behind which the answer is decoded, with the lines it may be. `packed` is in the cache. Where the definition is asked for first, its
 * line becomes the turn before the question, and is in the cache with it.
 */
export async function narrowed(
  model: AskModel,
  held: HeldTokens,
  packed: PackedPrompt,
  attention: AttentionChoice | undefined,
  request: AskRequest,
  signal: AbortSignal,
): Promise<PackedPrompt> {
  const search = isConstrained(model, request) ? searchFor(request.question) : undefined;
  if (!search) return packed;
  const { name, definitionFirst } = search;
  const { pack } = packed;
  const holding = firstLines(
    search,
    pack.files.map(({ path }) => pack.lines(path)),
  );
  const among = holdingLines(name, holding, model.spec.absentTokenId !== undefined);
  if (definitionFirst === undefined) return { ...packed, among };
  const definition = await findDefinition(model, held, { ...packed, among }, name, signal);
  if (definition === undefined) return { ...packed, among: { ...among, mayAnswer: () => false } };
  const around = aroundDefinition(search, definition, packed);
  const history = [...request.history, { question: definitionFirst, answer: definition.text }];
  const { after } = planPrompt({ ...model, question: request.question, history });
  const ids = new Int32Array(pack.ids.length + after.length);
  ids.set(pack.ids);
  ids.set(after, pack.ids.length);
  held.prepare(ids, packed.rope.plan, attention);
  await held.runner.append(ids.subarray(held.runner.length), { signal });
  return { ...packed, ids, among: around };
}

function holdingLines(name: string, holding: Holding | undefined, canRefuse: boolean): AnswerLines | undefined {
  if (!holding) return undefined;
  const { mayAnswer, found } = holding;
  if (found !== "nothing") return { mayAnswer, isAnswered: found === "borne out" };
  return canRefuse ? { mayAnswer, nothing: `No line of the files that were read holds \`${name}\`.` } : undefined;
}

/** The line that the model finds most probable; undefined where it says that there is none. */
async function findDefinition(
  model: AskModel,
  held: HeldTokens,
  packed: PackedPrompt,
  name: string,
  signal: AbortSignal,
): Promise<FoundDefinition | undefined> {
  const { tokenizer, stopIds } = model;
  const { pack, ids, among } = packed;
  const quotes = quotesAmong(model, pack, among);
  const quiet = { onText: () => undefined, onCandidate: () => undefined };
  const sampling = { temperature: 0, topP: 1, seed: 0 };
  const decoding = { runner: held.runner, tokenizer, sampling, stopIds, maxTokens: DEFINITION_TOKENS, signal, ...quiet };
  const decoded = await decodeQuotedLines({ ...decoding, prompt: ids, quotes, maxLines: 1 });
  held.hold([...ids, ...decoded.ids]);
  throwIfAborted(signal);
  const [line] = decoded.lines;
  if (line === undefined || line.quote.end === "absent") return undefined;
  return { name, text: line.text, places: quotes.occurrences(line.quote) };
}

function aroundDefinition({ kind, name }: Search, found: FoundDefinition, { pack }: PackedPrompt): AnswerLines {
  const around = linesAround(kind, found.places, (path) => pack.lines(path));
  const isAny = pack.files.some(({ path }) => pack.lines(path).some((line, i) => around({ path, line: i + 1 }, line ?? "")));
  if (isAny) return { mayAnswer: around, found, isAnswered: true };
  const [first] = found.places;
  const place = first === undefined ? "" : `${first.path.replaceAll("`", "'")}, line ${first.line}`;
  return { mayAnswer: around, nothing: `The model finds \`${name}\` in ${place}, and no comment stands there.` };
}
