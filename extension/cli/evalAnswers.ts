import { writeFile } from "node:fs/promises";
import { abortedError, EngineError, throwIfAborted } from "../../engine/errors.ts";
import { answerContext, requestOf } from "../../engine/eval/answers/ask.ts";
import type { AnswerRecord, QuestionContext } from "../../engine/eval/answers/api.ts";
import { contextsOf } from "../../engine/eval/answers/contexts.ts";
import { answerRows, attendedShare, firstTokenTimes, scoreOf } from "../../engine/eval/answers/score.ts";
import { answerTable, firstTokenLines, tableLegend } from "../../engine/eval/answers/table.ts";
import type { AskPlan } from "../../engine/generate/api.ts";
import { missingRows, missingText } from "../../engine/pack/api.ts";
import { formatRope } from "../../engine/position/ropeJson.ts";
import type { Session } from "../../engine/session.ts";
import type { Command } from "./args.ts";
import { checkModel, withSession } from "./model.ts";
import { grouped, type Output, ProgressLine } from "./output.ts";
import { readRepository } from "./repositoryFiles.ts";

type EvalCommand = Command & { name: "eval-answers" };

/** Tokens of an answer, and with the question in front of it what a context leaves free. */
const MAX_ANSWER_TOKENS = 128;
const RESERVE_TOKENS = MAX_ANSWER_TOKENS + 64;

/** The contexts of one length, with the scaling they are read with, or why they are not. */
interface LengthRun {
  /** Of a whole folder, all that it has. */
  lengthTokens: number;
  whole: boolean;
  contexts: readonly QuestionContext[];
  rope: unknown;
  leftOut: string | undefined;
}

/**
 * `lcp eval-answers`: makes questions with known answers of a folder, asks them as `lcp ask` does and prints what the answers are worth. Ctrl-C
 * ends it with what there is.
 */
export async function evalAnswers(command: EvalCommand, packageRoot: string, output: Output, signal: AbortSignal): Promise<void> {
  const progress = new ProgressLine(output);
  const lengths = await makeQuestions(command, packageRoot, progress, signal);
  const records: AnswerRecord[] = [];
  const model = await withSession(command, packageRoot, output, signal, async (session, rope) => {
    const options = { rope, attention: command.attention, maxAnswerTokens: MAX_ANSWER_TOKENS, signal };
    try {
      for (const length of lengths) {
        const plan = await fits(session, length, options);
        progress.clear();
        output.err(`${lengthText(length, plan)}\n`);
        if (length.leftOut !== undefined) continue;
        const asked = length.contexts.reduce((sum, { questions }) => sum + questions.length, 0);
        let done = 0;
        for (const [index, context] of length.contexts.entries()) {
          await answerContext(session, context, index, {
            ...options,
            onEvent: (event) => {
              if (event.type === "recovered") output.err(`went on after: ${event.because}\n`);
            },
            onAnswer: (record) => {
              records.push(record);
              done++;
              progress.show(`${grouped(length.lengthTokens)} tokens: ${done} / ${asked} questions`, done / asked);
            },
          });
          if (signal.aborted) break;
        }
        if (signal.aborted) break;
      }
    } catch (error) {
      // What was answered until then is worth printing.
      if (!EngineError.is(error, "aborted") || records.length === 0) throw error;
    } finally {
      progress.clear();
    }
    const { model: name, parameterCount, backend, backendBecause, device } = session.info;
    return { model: name, parameterCount, backend, backendBecause, device };
  });
  if (records.length === 0 && !signal.aborted) throw nothingFits(lengths);
  await report(command, { ...model, finished: !signal.aborted }, lengths, records, output);
  if (signal.aborted) throw abortedError();
}

async function makeQuestions(
  command: EvalCommand,
  packageRoot: string,
  progress: ProgressLine,
  signal: AbortSignal,
): Promise<LengthRun[]> {
  const { folder, include, perType, seed } = command;
  const { path: modelPath } = await checkModel(command.model, packageRoot, signal);
  const { files, countTokens } = await readRepository({
    ...{ folder, include, modelPath, packageRoot, signal },
    onProgress: (done, all) => progress.show(`reading ${done} / ${all} files`, done / all),
  });
  progress.clear();
  const lengths: LengthRun[] = [];
  const allTokens = files.reduce((sum, { tokens }) => sum + tokens, 0);
  for (const [index, length] of command.lengths.entries()) {
    const whole = length === "whole";
    const lengthTokens = whole ? allTokens : length;
    const contexts: QuestionContext[] = [];
    for (const context of contextsOf({ files, length, reserveTokens: RESERVE_TOKENS, perType, seed, countTokens })) {
      contexts.push(context);
      progress.show(`making questions about ${grouped(lengthTokens)} tokens`, index / command.lengths.length);
      await new Promise<void>((resume) => setImmediate(resume));
      throwIfAborted(signal);
    }
    lengths.push({ lengthTokens, whole, contexts, rope: undefined, leftOut: undefined });
  }
  progress.clear();
  if (lengths.every(({ contexts }) => contexts.length === 0)) {
    const smallest = Math.min(...files.map(({ tokens }) => tokens));
    throw new EngineError(
      "empty-workspace",
      `"${folder}" has nothing that can be asked: its ${files.length} text files are longer than the lengths, or declare nothing`,
      `give a folder with source files, or longer --lengths: the smallest file has ${grouped(smallest)} tokens`,
      { files: files.length, smallestFileTokens: smallest },
    );
  }
  return lengths;
}

/** Packs the first context without reading it; a length that does not fit says so, but for a whole folder. Returns undefined where nothing can be asked. */
async function fits(
  session: Session,
  length: LengthRun,
  options: Parameters<typeof requestOf>[2] & { signal: AbortSignal },
): Promise<AskPlan | undefined> {
  const [context] = length.contexts;
  const question = context?.questions[0];
  if (context === undefined || question === undefined) {
    length.leftOut = "no file of that length can be asked about";
    return undefined;
  }
  try {
    const plan = await session.plan(await requestOf(context.files, question, options), options.signal);
    if (!length.whole && missingRows(plan.rows).length > 0) length.leftOut = `the window ends before: ${plan.limit.explanation}`;
    length.rope = formatRope(plan.rope);
    return plan;
  } catch (error) {
    if (!EngineError.is(error, "context-too-long")) throw error;
    length.leftOut = error.message;
    return undefined;
  }
}

function lengthText({ lengthTokens, whole, contexts, rope, leftOut }: LengthRun, plan: AskPlan | undefined): string {
  const tokens = `${whole ? "the whole folder, " : ""}${grouped(lengthTokens)} tokens`;
  if (leftOut !== undefined) return `${tokens}: left out (${leftOut})`;
  const questions = contexts.reduce((sum, context) => sum + context.questions.length, 0);
  const asked = `${grouped(questions)} questions about ${grouped(contexts.length)} ${contexts.length === 1 ? "context" : "contexts"}`;
  // Where the repository is smaller than the length, the prompt says so.
  const missing = plan && missingText(plan.rows);
  const part = missing ? `, ${missing}` : "";
  const first =
    plan === undefined ? "" : `, the first prompt ${grouped(plan.promptTokens)} tokens${part}; ${plan.limit.explanation}`;
  return `${tokens}: ${asked}, RoPE ${JSON.stringify(rope)}${first}`;
}

function nothingFits(lengths: readonly LengthRun[]): EngineError {
  const reasons = [...new Set(lengths.map(({ leftOut }) => leftOut ?? "no question"))].join("; ");
  return new EngineError("context-too-long", `no length can be asked: ${reasons}`, "give shorter --lengths, or another --rope");
}

async function report(
  command: EvalCommand,
  run: Record<string, unknown> & { finished: boolean },
  lengths: readonly LengthRun[],
  records: readonly AnswerRecord[],
  output: Output,
): Promise<void> {
  const rows = answerRows(records);
  const times = firstTokenTimes(records);
  const attended = attendedShare(records);
  const written = command.line;
  if (records.length > 0) output.out(`${answerTable(rows)}${firstTokenLines(times)}${tableLegend}\n`);
  if (command.json !== undefined) {
    const { seed, perType } = command;
    const contexts = lengths.map(({ contexts: made, ...length }) => ({
      ...length,
      contexts: made.map(({ anchor, files }) => ({
        anchor,
        files: files.map(({ path }) => path),
        planted: files.filter((file) => file.planted).map(({ path }) => path),
      })),
    }));
    const answers = records.map((record) => ({ ...record, score: scoreOf(record) }));
    const document = { command: written, ...run, seed, perType, lengths: contexts, rows, firstToken: times, attended, answers };
    await writeFile(command.json, `${JSON.stringify(document, undefined, 1)}\n`);
  }
  if (command.attended === undefined) return;
  if (attended === undefined)
    output.err("no attended lines were measured: nothing was planted, or the backend keeps no attention\n");
  else await writeFile(command.attended, `${JSON.stringify({ ...attended, command: written })}\n`);
}
