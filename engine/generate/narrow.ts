/** A question's answer is looked for where it can stand: among the lines that hold the name, or around the name's definition, which is asked for first. */
import type { AttentionChoice } from "../attention/api.ts";
import { throwIfAborted } from "../errors.ts";
import type { Pack } from "../pack/pack.ts";
import { nameMarked } from "../pack/nameInFiles.ts";
import { planPrompt, type Prompt, type Turn } from "../pack/prompt.ts";
import { firstLines, type GivenLines, type Holding, linesAround, type MayAnswer, type Search, searchFor } from "./answerLines.ts";
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
  const constrained = isConstrained(model, request);
  const marked = constrained ? nameMarked(question) : undefined;
  const first = constrained ? searchFor(marked ?? question)?.definitionFirst : undefined;
  // A word that the files may turn out not to define is no name yet.
  const prompt = planPrompt({ ...model, question: marked === undefined ? (first ?? question) : question, history });
  if (marked === undefined && first === undefined) return { prompt, laterTokens: 0 };
  const turns = first === undefined ? history : [...history, { question: first, answer: "" }];
  const later = planPrompt({ ...model, question: marked ?? question, history: turns });
  const found = first === undefined ? 0 : DEFINITION_TOKENS;
  return { prompt, laterTokens: Math.max(0, later.after.length - prompt.after.length) + found };
}

/** The question as it is read: with a name that only the files tell, where their lines bear out what is asked of it. */
function readIn(files: readonly GivenLines[], question: string): string {
  const marked = nameMarked(question);
  const search = marked === undefined ? undefined : searchFor(marked);
  return marked !== undefined && search && firstLines(search, files)?.found === "borne out" ? marked : question;
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
  if (!isConstrained(model, request)) return packed;
  const { pack } = packed;
  const files = pack.files.map(({ path }) => pack.lines(path));
  const question = readIn(files, request.question);
  const search = searchFor(question);
  if (!search) return packed;
  /** The prompt with another question behind the files, in the cache. */
  const asking = async (asked: string, history: readonly Turn[]): Promise<PackedPrompt> => {
    const { after } = planPrompt({ ...model, question: asked, history });
    const ids = new Int32Array(pack.ids.length + after.length);
    ids.set(pack.ids);
    ids.set(after, pack.ids.length);
    held.prepare(ids, packed.rope.plan, attention);
    await held.runner.append(ids.subarray(held.runner.length), { signal });
    return { ...packed, ids, question };
  };
  const { name, definitionFirst } = search;
  const among = holdingLines(name, firstLines(search, files), model.spec.absentTokenId !== undefined);
  const first = question === request.question ? packed : await asking(definitionFirst ?? question, request.history);
  if (definitionFirst === undefined) return { ...first, among };
  const definition = await findDefinition(model, held, { ...first, among }, name, signal);
  if (definition === undefined) return { ...first, among: { ...among, mayAnswer: () => false } };
  const around = aroundDefinition(search, definition, packed);
  return {
    ...(await asking(question, [...request.history, { question: definitionFirst, answer: definition.text }])),
    among: around,
  };
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
