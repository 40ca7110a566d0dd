/** Whether an answer depends on the lines it cites: how probable it is behind a prompt without them. */
import type { Runner } from "../api.ts";
import { EngineError } from "../errors.ts";
import { logitRows, logSoftmax } from "../eval/perplexity.ts";
import { encodeBody } from "../pack/body.ts";
import { headerLine, type Pack } from "../pack/pack.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type AnswerCheck, type CheckProgress, DEPENDS_AT_MOST, HARDLY_AT_LEAST, type LeftOut } from "./api.ts";
import type { AskedPrompt, AskEngine, AskModel, PackedPrompt } from "./ask.ts";
import { prefill } from "./prefill.ts";

/**
 * Scores the last answer with teacher forcing, behind its prompt and behind one without the lines it cites (the file itself, where the answer
 * names a file). Cached and kept prefixes are used. The prompt without the lines is read first, so that the cache ends as the answer left it.
 * Throws `bad-argument` where no answer's context is in the cache or nothing was cited word for word; stopped or failed, the context is lost.
 */
export async function checkAnswer(
  model: AskModel,
  engine: AskEngine,
  signal: AbortSignal,
  onProgress: (progress: CheckProgress) => void,
): Promise<AnswerCheck> {
  const asked = checkable(engine.asked);
  const { attention, packed, answer } = asked;
  const leftOut = citedPlaces(asked);
  // Until the prompt is back, nothing of it may be turned or asked about.
  engine.asked = undefined;
  if (attention) engine.held.runner.setAttention(attention);
  const score = async (prompt: PackedPrompt, reading: CheckProgress["reading"]): Promise<number> => {
    // The last token is read with the answer, whose first token it foretells.
    const context = { ...prompt, ids: prompt.ids.slice(0, -1) };
    await prefill(engine, context, attention, signal, (event) => {
      if (event.type === "prefill") onProgress({ reading, doneTokens: event.doneTokens, totalTokens: event.totalTokens });
    });
    engine.held.hold([...prompt.ids, ...answer.ids]);
    const { vocabSize } = model.spec;
    return meanProbability(engine.held.runner, prompt.ids.at(-1) ?? 0, answer.ids, { vocabSize, signal });
  };
  const without = await score(withoutPlaces(packed, leftOut, model.tokenizer), "without");
  const withLines = await score(packed, "with");
  engine.asked = asked;
  const attentionFrom = engine.held.runner.tap.from ?? 0;
  return {
    ...{ leftOut, answerTokens: answer.ids.length, withLines, withoutLines: without },
    verdict: verdictOf(withLines, without),
    attentionFrom,
  };
}

function checkable(asked: AskedPrompt | undefined): AskedPrompt {
  const fails = (message: string, remedy: string): never => {
    throw new EngineError("bad-argument", message, remedy);
  };
  if (asked === undefined) return fails("no answer's context is in the cache", "ask the question again, then check its answer");
  if (citedPlaces(asked).length === 0)
    return fails("the answer cites no lines", "check an answer that quotes lines of the files");
  return asked;
}

/** Every verified place of every quote; the whole file where its header line is what was said. */
function citedPlaces({ answer: { answer, citations } }: AskedPrompt): LeftOut[] {
  const said = new Set(answer.split("\n").map((line) => line.trim()));
  return citations
    .filter(({ verified }) => verified)
    .map(({ path, startLine, endLine }) =>
      said.has(headerLine(path)) ? { path, startLine: 0, endLine: 0 } : { path, startLine, endLine },
    );
}

/** The same prompt without these places: files in the same order, each as it was or cut into tokens anew. */
function withoutPlaces({ pack, ids, rope }: PackedPrompt, leftOut: readonly LeftOut[], tokenizer: Tokenizer): PackedPrompt {
  const [first] = pack.files;
  const parts: Int32Array[] = [ids.subarray(0, first?.tokenStart ?? pack.ids.length)];
  const files: Pack["files"][number][] = [];
  let at = parts[0]?.length ?? 0;
  for (const file of pack.files) {
    const places = leftOut.filter(({ path }) => path === file.path);
    if (places.some(({ startLine }) => startLine === 0)) continue;
    const lines = pack.lines(file.path);
    const header = ids.subarray(file.tokenStart, file.bodyStart);
    let body = ids.subarray(file.bodyStart, file.tokenEnd);
    let lineTokens = file.lineTokens.map((token) => token - file.bodyStart);
    if (places.length > 0) {
      const kept = lines.flatMap((line, i) => {
        const number = i + 1;
        const isCited = places.some(({ startLine, endLine }) => number >= startLine && number <= endLine);
        return line === undefined || isCited ? [] : [{ first: number, last: number }];
      });
      const encoded = encodeBody({ lines: lines.map((line) => line ?? ""), repaired: false }, tokenizer, kept);
      ({ ids: body, lineTokens } = encoded);
    }
    const bodyStart = at + header.length;
    const tokenEnd = bodyStart + body.length;
    files.push({ ...file, tokenStart: at, bodyStart, tokenEnd, lineTokens: lineTokens.map((token) => bodyStart + token) });
    parts.push(header, body);
    at = tokenEnd;
  }
  parts.push(ids.subarray(pack.ids.length));
  const whole = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let to = 0;
  for (const part of parts) {
    whole.set(part, to);
    to += part.length;
  }
  return { pack: { ...pack, ids: whole.slice(0, at), files }, ids: whole, rope };
}

/** Geometric mean of the probabilities of `answer`, behind what the runner holds and one more token. */
async function meanProbability(runner: Runner, last: number, answer: readonly number[], scoring: Scoring): Promise<number> {
  const { vocabSize, signal } = scoring;
  const inputs = [last, ...answer.slice(0, -1)];
  const rowsAtOnce = logitRows(vocabSize);
  let logProb = 0;
  for (let from = 0; from < inputs.length; from += rowsAtOnce) {
    const piece = inputs.slice(from, from + rowsAtOnce);
    const flat = await runner.append(piece, { signal, logits: "all" });
    if (!flat) throw new EngineError("internal", "the backend returned no logits", "report it with the name of the backend");
    for (const row of piece.keys())
      logProb += logSoftmax(flat.subarray(row * vocabSize, (row + 1) * vocabSize), answer[from + row] ?? 0);
  }
  return Math.exp(logProb / answer.length);
}

interface Scoring {
  vocabSize: number;
  signal: AbortSignal;
}

function verdictOf(withLines: number, without: number): AnswerCheck["verdict"] {
  if (without <= DEPENDS_AT_MOST * withLines) return "depends";
  return without >= HARDLY_AT_LEAST * withLines ? "hardly" : "partly";
}
