import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Runtime } from "../../../engine/api.ts";
import { WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import type { AskEvent, ReplyRequest } from "../../../engine/generate/api.ts";
import { conversationFrame, messageTokens } from "../../../engine/pack/conversation.ts";
import { openSession, type Session } from "../../../engine/session.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import {
  memoryWorkspace,
  tinyChatTemplate,
  tinyModelFiles,
  type TinyModelOptions,
  tinyTokenizerJson,
} from "../../support/tinyModel.ts";

const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
const never = new AbortController().signal;
const ignore = () => undefined;

function open(options: TinyModelOptions): Promise<Session> {
  return openSession(tinyModelFiles({ layers: 1, ...options }), runtime, { backend: "reference", weightFormat: "f32" });
}

function saying(texts: readonly string[], extra: Partial<ReplyRequest> = {}): ReplyRequest {
  const messages = texts.map((content, i) => ({ role: i % 2 === 0 ? ("user" as const) : ("assistant" as const), content }));
  const sampling = { temperature: 0, topP: 1, seed: 1 };
  return { messages, rope: { kind: "model" }, attention: WHOLE, sampling, maxAnswerTokens: 4, ...extra };
}

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => EngineError.is(error, code);
}

describe("a reply", () => {
  it("of a base model goes on with a transcript, streams what it says and keeps the conversation cached", async () => {
    const session = await open({ promptFormat: "plain" });
    const events: AskEvent[] = [];
    const first = await session.reply(saying(["Where is limit?"]), never, (event) => events.push(event));
    const streamed = events.map((event) => (event.type === "token" ? event.text : "")).join("");
    assert.equal(streamed, first.text);
    assert.deepEqual([first.answerTokens, first.stoppedBy, first.reusedTokens], [4, "length", 0]);
    const again = await session.reply(saying(["Where is limit?"]), never, ignore);
    assert.equal(again.text, first.text);
    assert.ok(again.reusedTokens > 0, "the same beginning is not computed again");
    session.close();
  });

  it("of a chat model follows its template, and its prompt is what its messages were counted to", async () => {
    const session = await open({ promptFormat: "chat" });
    const chatTemplate = { source: tinyChatTemplate, bosToken: "", eosToken: "" };
    const model = { spec: session.info.spec, tokenizer: loadTokenizer(tinyTokenizerJson), chatTemplate };
    const frame = conversationFrame(model);
    for (const texts of [["const"], ["const", "co", "where is const"]]) {
      const request = saying(texts);
      const reply = await session.reply(request, never, ignore);
      const counted = request.messages.reduce((sum, message) => sum + messageTokens(model, frame, message), 0);
      assert.equal(reply.promptTokens, frame.opening + counted + frame.closing);
      assert.equal(reply.answerTokens, 4);
    }
    session.close();
  });

  it("is shortened to what is left of the window, and refused where nothing is", async () => {
    const session = await open({ promptFormat: "plain", maxPositions: 64 });
    const { promptTokens } = await session.reply(saying(["a b"]), never, ignore);
    const long = await session.reply(saying(["a b"], { maxAnswerTokens: 1000 }), never, ignore);
    assert.equal(long.promptTokens + long.answerTokens, 64);
    assert.equal(long.promptTokens, promptTokens);
    const whole = saying([`${"a ".repeat(80)}b`]);
    await assert.rejects(session.reply(whole, never, ignore), isCode("context-too-long"));
    session.close();
  });

  it("of an extractive model is a line of what was said before the question", async () => {
    const session = await open({});
    const text = "export const limit = 3;\nconst other = 4;";
    const reply = await session.reply(saying([`${text}\nWhat is limit?`], { maxAnswerTokens: 64 }), never, ignore);
    assert.ok(["Not found in the files.", ...text.split("\n")].includes(reply.text.trim()), reply.text);
    await assert.rejects(session.reply(saying(["What is limit?"]), never, ignore), isCode("bad-argument"));
    session.close();
  });

  it("of an extractive model is never from a part of the conversation", async () => {
    const session = await open({ maxPositions: 64 });
    const events: AskEvent["type"][] = [];
    const half = saying(["a b c d\n".repeat(40), "yes", "const x = 1;\nWhat is x?"]);
    const asking = session.reply(half, never, ({ type }) => events.push(type));
    await assert.rejects(asking, isCode("context-too-long"));
    assert.ok(!events.includes("prefill"), "nothing was computed");
    session.close();
  });

  it("stops where it is stopped, and leaves the engine to the next question", async () => {
    const session = await open({ promptFormat: "plain" });
    const controller = new AbortController();
    const reply = await session.reply(saying(["Go on."], { maxAnswerTokens: 200 }), controller.signal, ({ type }) => {
      if (type === "token") controller.abort();
    });
    assert.equal(reply.stoppedBy, "user");
    const { files, readFile } = memoryWorkspace({ "a.ts": "const x = 1;\n" });
    const { rope, attention, sampling } = saying([]);
    const options = { rope, attention, sampling, quote: "free" as const, maxAnswerTokens: 2, history: [] };
    const { promptTokens } = await session.ask({ question: "Where is x?", files, readFile, ...options }, never, ignore);
    assert.ok(promptTokens > 0);
    session.close();
  });
});
