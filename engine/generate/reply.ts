/** The next turn of a conversation that brings its own texts: no files of a workspace, no citations. */
import type { AttentionChoice } from "../attention/api.ts";
import { EngineError, type ErrorFacts } from "../errors.ts";
import { missingRows } from "../pack/api.ts";
import { conversationPrompt, questionAndTexts } from "../pack/conversation.ts";
import type { Pack } from "../pack/pack.ts";
import type { Reply, ReplyRequest } from "./api.ts";
import { answerQuestion, type AskEngine, type AskModel, type OnEvent } from "./ask.ts";
import { decodeTokens } from "./decode.ts";
import { prefill } from "./prefill.ts";

/**
 * Writes the assistant's next turn. Chat models get their own template, base models a transcript, and an extractive model the last line as its
 * question and all before it as the text whose lines it may say. Nothing is cut: throws `context-too-long` where the conversation leaves no room for a
 * reply, `bad-argument` where nothing is asked, and what the backend throws.
 */
export async function replyTo(
  model: AskModel,
  engine: AskEngine,
  request: ReplyRequest,
  signal: AbortSignal,
  onEvent: OnEvent,
): Promise<Reply> {
  const { spec, tokenizer } = model;
  if (spec.promptFormat === "extractive") return sayLine(model, engine, request, signal, onEvent);
  const { held } = engine;
  const attention = spec.kind === "decoder" ? request.attention : undefined;
  // Before anything is computed: what the backend cannot do is told at once.
  if (attention) held.runner.setAttention(attention);
  const ids = conversationPrompt(model, request.messages);
  const { rope, maxTokens } = roomFor(engine, request, attention, ids.length);
  engine.asked = undefined;
  const prefilled = await prefill(engine, { pack: noFiles(ids), ids, rope }, attention, signal, onEvent);
  const decoded = await decodeTokens({
    runner: held.runner,
    tokenizer,
    sampling: request.sampling,
    stopIds: model.stopIds,
    maxTokens,
    signal,
    onText: (text) => onEvent({ type: "token", text }),
  });
  held.hold([...ids, ...decoded.ids]);
  const { text, stoppedBy } = decoded;
  return { text, stoppedBy, promptTokens: ids.length, ...prefilled, answerTokens: decoded.ids.length };
}

/** The rotation for prompt and reply, and how long the reply may get in what is left of the window. */
function roomFor({ window }: AskEngine, request: ReplyRequest, attention: AttentionChoice | undefined, promptTokens: number) {
  const asked = { rope: request.rope, attention };
  const windowTokens = window.windowFor(asked, promptTokens + request.maxAnswerTokens);
  const maxTokens = Math.min(request.maxAnswerTokens, windowTokens - promptTokens);
  if (maxTokens < 1) {
    throw tooLong(`the conversation takes ${promptTokens} of ${windowTokens} tokens`, { promptTokens, windowTokens });
  }
  // One empty context for all conversations: a longer turn keeps the rotation, and with it what is cached, while it reaches.
  return { rope: window.resolve(asked, new Int32Array(0), promptTokens + maxTokens), maxTokens };
}

/** An extractive model answers as it does about files: the conversation's earlier texts are the files. */
async function sayLine(
  model: AskModel,
  engine: AskEngine,
  { messages, ...options }: ReplyRequest,
  signal: AbortSignal,
  onEvent: OnEvent,
): Promise<Reply> {
  const { question, texts } = questionAndTexts(messages);
  if (texts.length === 0) {
    throw new EngineError(
      "bad-argument",
      "this model only says lines of a text that it is given, and the conversation has none",
      "attach the text in front of the question, ask @longcontext about the workspace, or choose another model",
    );
  }
  const encoder = new TextEncoder();
  const bytes = new Map(texts.map(({ path, text }) => [path, encoder.encode(text)]));
  // What is cached by hash must not be taken for another text under the same name.
  const files = texts.map(({ path, text }) => ({ path, hash: `message:${text}`, sizeBytes: bytes.get(path)?.length ?? 0 }));
  const answered = await answerQuestion(
    model,
    engine,
    {
      ...options,
      question,
      files,
      history: [],
      quote: "constrained",
      readFile: async ({ path }) => bytes.get(path) ?? new Uint8Array(0),
    },
    signal,
    (event) => {
      // Before anything is computed: an answer from half a conversation would be taken for one from all of it.
      const left = event.type === "packed" ? missingRows(event.rows)[0] : undefined;
      if (left) throw tooLong(`${left.path} does not fit: ${left.reason}`);
      onEvent(event);
    },
  );
  const { answer: text, stoppedBy, promptTokens, reusedTokens, restoredTokens, answerTokens } = answered;
  return { text, stoppedBy, promptTokens, reusedTokens, restoredTokens, answerTokens };
}

function tooLong(what: string, facts: ErrorFacts = {}): EngineError {
  const remedy = "begin a new conversation, attach less, or choose a RoPE scaling that reaches further";
  return new EngineError("context-too-long", what, remedy, facts);
}

function noFiles(ids: Int32Array<ArrayBuffer>): Pack {
  return { ids, files: [], rows: [], lines: () => [] };
}
