import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AskEvent, AskPlan, AskResult, Reply } from "../../../engine/generate/api.ts";
import { abortedError, EngineError } from "../../../engine/errors.ts";
import { type ChosenRun, createChatRequests } from "../../../webview/chatRequests.ts";
import type { ChosenQuestion } from "../../../webview/protocol/panel.ts";
import { type Action, createStore, initialState } from "../../../webview/state/store.ts";
import { askResult, panelSettings, savedRun, sessionInfo } from "./panelFixtures.ts";

const never = { signal: new AbortController().signal };
const question: ChosenQuestion = { question: "where?", files: [], first: ["a.ts"], history: [], limited: false };
const limit = { tokens: 2048, because: "trained length", explanation: "", wouldBe: 2048 } as const;
const planned: AskPlan = {
  ...{ promptTokens: 9, reusedTokens: 0, restoredTokens: 0, recomputedTokens: 9 },
  ...{ limit, rope: { kind: "none" }, rows: [] },
};
const reply: Reply = { text: "", stoppedBy: "end", promptTokens: 1, reusedTokens: 0, restoredTokens: 0, answerTokens: 0 };

/** A panel whose runs and replies end when the test says so. */
function panel() {
  const store = createStore(initialState({ tab: "ask", question: "half a quest" }));
  const published: { runId: string; event: AskEvent }[] = [];
  const log: string[] = [];
  const ends: (() => void)[] = [];
  const dispatch = (action: Action): void => {
    store.dispatch(action);
    chat.follow(action);
  };
  const run = async (asked: ChosenRun): Promise<AskResult> => {
    log.push(`run ${asked.id}`);
    dispatch({ type: "runStarted", id: asked.id, question: asked.question });
    await new Promise<void>((resolve) => ends.push(resolve));
    const result = askResult({ question: asked.question });
    dispatch({ type: "runFinished", run: { id: asked.id, askedAt: "2026-01-01T00:00:00.000Z", result } });
    return result;
  };
  const chat = createChatRequests({
    store,
    host: { publish: (_, value) => published.push(value) },
    engine: {
      plan: async () => planned,
      reply: async ({ runId }) => {
        log.push(`reply ${runId}`);
        await new Promise<void>((resolve) => ends.push(resolve));
        return reply;
      },
    },
    dispatch,
    run,
    engineFree: async () => void log.push("free"),
    openEngine: () => void log.push("open"),
  });
  return { store, dispatch, published, log, ends, ...chat };
}

function ready(made: ReturnType<typeof panel>): void {
  made.dispatch({ type: "settings", settings: panelSettings({ kind: "auto" }) });
  made.dispatch({ type: "engineReady", info: sessionInfo() });
}

/** Lets everything that can go on go on. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

describe("requests of VS Code's chat", () => {
  it("wait for the settings and for what a person asked, then run as a run of the panel", async () => {
    const made = panel();
    const answering = made.handlers["panel/answer"]({ ...question, runId: "chat" }, never);
    await settle();
    assert.deepEqual(made.log, [], "nothing is known yet");
    ready(made);
    made.dispatch({ type: "runStarted", id: "own", question: "mine" });
    await settle();
    assert.deepEqual(made.log, ["run chat"], "the settings were there first");
    made.ends[0]?.();
    assert.equal((await answering).question, "where?");
    assert.equal(made.store.state.shownRun, "chat");

    made.dispatch({ type: "runStarted", id: "own", question: "mine" });
    const second = made.handlers["panel/answer"]({ ...question, runId: "later" }, never);
    await settle();
    assert.deepEqual(made.log, ["run chat"], "the person's own question goes first");
    made.dispatch({ type: "runFailed", runId: "own", error: abortedError().toPlain() });
    await settle();
    assert.deepEqual(made.log, ["run chat", "run later"]);
    made.ends[1]?.();
    await second;
  });

  it("leave what a person is typing alone, and his conversation", async () => {
    const made = panel();
    ready(made);
    made.dispatch({ type: "runsListed", runs: [savedRun("old")] });
    made.dispatch({ type: "runShown", id: "old" });
    const answering = made.handlers["panel/answer"]({ ...question, runId: "chat" }, never);
    await settle();
    made.dispatch({ type: "question", text: "half a question" });
    made.ends[0]?.();
    await answering;
    assert.equal(made.store.state.question, "half a question");
    assert.deepEqual(made.store.state.thread, ["chat"], "the chat did not go on with the panel's conversation");
    const history = [{ question: "where?", answer: "there" }];
    const following = made.handlers["panel/answer"]({ ...question, history, runId: "more" }, never);
    await settle();
    made.ends[1]?.();
    await following;
    assert.deepEqual(made.store.state.thread, ["chat", "more"], "the same conversation is gone on with");
  });

  it("go one after the other, and one that is given up before its turn never runs", async () => {
    const made = panel();
    ready(made);
    const message = { messages: [], maxAnswerTokens: 9, sampling: {} };
    const first = made.handlers["panel/reply"]({ ...message, runId: "1" }, never);
    const controller = new AbortController();
    const given = made.handlers["panel/reply"]({ ...message, runId: "2" }, { signal: controller.signal });
    const third = made.handlers["panel/plan"](question, never);
    await settle();
    assert.deepEqual(made.log, ["free", "reply 1"]);
    controller.abort();
    made.ends[0]?.();
    await first;
    await assert.rejects(Promise.resolve(given), (error) => EngineError.is(error, "aborted"));
    assert.equal(await third, planned);
    assert.ok(!made.log.includes("reply 2"));
  });

  it("tell the host what its own runs do, and no others", async () => {
    const made = panel();
    ready(made);
    const answering = made.handlers["panel/answer"]({ ...question, runId: "chat" }, never);
    await settle();
    const event: AskEvent = { type: "token", text: "x" };
    made.dispatch({ type: "runEvent", runId: "chat", event });
    made.dispatch({ type: "runEvent", runId: "other", event });
    made.ends[0]?.();
    await answering;
    made.dispatch({ type: "runEvent", runId: "chat", event });
    assert.deepEqual(made.published, [{ runId: "chat", event }]);
  });

  it("do not wait hours for a search, and open an engine that had failed", async () => {
    const made = panel();
    ready(made);
    made.dispatch({ type: "searchStarted", id: "s" });
    const refused = made.handlers["panel/plan"](question, never);
    await assert.rejects(
      Promise.resolve(refused),
      (error) => EngineError.is(error, "busy") && /stop the search/.test(error.remedy),
    );
    made.dispatch({ type: "searchFailed", id: "s", error: abortedError().toPlain() });
    made.dispatch({ type: "engineFailed", error: abortedError().toPlain() });
    await made.handlers["panel/plan"](question, never);
    assert.deepEqual(made.log, ["open", "free"]);
  });

  it("leave no run's keys in the cache when they were no question about the workspace", async () => {
    const made = panel();
    ready(made);
    made.dispatch({ type: "runFinished", run: savedRun("own") });
    assert.equal(made.store.state.cachedRun, "own");
    const replying = made.handlers["panel/reply"]({ messages: [], maxAnswerTokens: 9, sampling: {}, runId: "1" }, never);
    await settle();
    assert.deepEqual([made.store.state.cachedRun, made.store.state.replying], [undefined, true]);
    made.ends[0]?.();
    await replying;
    assert.equal(made.store.state.replying, false);
  });
});
