/** Asks the questions of contexts through a session, as the panel and `lcp ask` do. */
import type { RopeChoice, SnapshotFile } from "../../api.ts";
import type { AskEvent, AskOptions, AskRequest } from "../../generate/api.ts";
import { hex, sha256 } from "../../kv-cache/sha256.ts";
import type { Session } from "../../session.ts";
import type { AnswerRecord, ContextFile, Question, QuestionContext } from "./api.ts";
import { answerWithoutModel } from "./control.ts";
import { PackText } from "./packText.ts";

export interface AnswerOptions extends Omit<AskOptions, "rope" | "quote" | "sampling"> {
  rope: RopeChoice;
  signal: AbortSignal;
  onEvent?: (event: AskEvent) => void;
  /** Called with every answer. */
  onAnswer: (record: AnswerRecord) => void;
}

/** What of a session is used. */
export type AskingSession = Pick<Session, "ask" | "info">;

/** Asks all questions of one context one after the other, so that its prefix is read once. Throws what `Session.ask` throws. */
export async function answerContext(
  session: AskingSession,
  context: QuestionContext,
  index: number,
  options: AnswerOptions,
): Promise<void> {
  const text = new PackText(context.files);
  for (const question of context.questions) {
    const record = await answered(session, context, question, options);
    if (record === undefined) return;
    const controls = {
      firstMention: text.firstMention(question.name),
      withoutModel: answerWithoutModel(question, text, context.files),
    };
    options.onAnswer({ ...record, lengthTokens: context.lengthTokens, context: index, question, ...controls });
  }
}

type Answered = Omit<AnswerRecord, "lengthTokens" | "context" | "question" | "firstMention" | "withoutModel">;

/** Undefined where it was stopped: half an answer is no answer. */
async function answered(
  session: AskingSession,
  context: QuestionContext,
  question: Question,
  options: AnswerOptions,
): Promise<Answered | undefined> {
  const { signal, onEvent } = options;
  const started = performance.now();
  let firstTokenMs: number | undefined;
  const result = await session.ask(await requestOf(context.files, question, options), signal, (event) => {
    if (event.type === "token" || event.type === "candidate") firstTokenMs ??= performance.now() - started;
    onEvent?.(event);
  });
  if (result.stoppedBy === "user") return undefined;
  const answeredMs = performance.now() - started;
  const { answer, absent, citations, promptTokens, reusedTokens } = result;
  const isPlanted = question.type === "needle" || question.type === "needle-multi";
  const attended = isPlanted && session.info.tap.layers.length > 0 ? result.attended : undefined;
  const record = { answer, absent, citations, promptTokens, reusedTokens, firstTokenMs: firstTokenMs ?? answeredMs, answeredMs };
  return attended === undefined ? record : { ...record, attended };
}

/** The request that such a question makes; a file with planted lines has another hash than the one of the repository. */
export async function requestOf(
  files: readonly ContextFile[],
  question: Pick<Question, "text">,
  { rope, attention, maxAnswerTokens }: Pick<AnswerOptions, "rope" | "attention" | "maxAnswerTokens">,
): Promise<AskRequest> {
  const encoder = new TextEncoder();
  const texts = new Map<string, Uint8Array>();
  const snapshot: SnapshotFile[] = [];
  for (const { path, lines } of files) {
    const bytes = encoder.encode(lines.map((line) => `${line}\n`).join(""));
    const hash = hex(await sha256(bytes));
    texts.set(hash, bytes);
    snapshot.push({ path, hash, sizeBytes: bytes.length });
  }
  return {
    question: question.text,
    files: snapshot,
    history: [],
    readFile: async ({ hash }) => texts.get(hash) ?? new Uint8Array(),
    ...{ rope, attention, maxAnswerTokens },
    sampling: { temperature: 0, topP: 1, seed: 0 },
    quote: "constrained",
  };
}
