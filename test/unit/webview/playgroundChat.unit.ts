/** VS Code's chat through the page as it is: real channels on both sides, a worker without an engine behind it. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { AskEvent, AskPlan, AskResult } from "../../../engine/generate/api.ts";
import { abortedError, EngineError } from "../../../engine/errors.ts";
import { createPlayground, type Playground } from "../../../webview/playground.ts";
import { type Channel, openChannel, type Port } from "../../../webview/protocol/channel.ts";
import type {
  ChosenQuestion,
  EngineReport,
  HostCalls,
  HostTopics,
  PanelCalls,
  PanelTopics,
  SavedRun,
} from "../../../webview/protocol/panel.ts";
import type { EngineCalls, EngineTopics, PageCalls, PageTopics } from "../../../webview/protocol/worker.ts";
import { createStore, initialState, type Store } from "../../../webview/state/store.ts";
import { until } from "../../support/until.ts";
import { askResult, panelSettings, sessionInfo } from "./panelFixtures.ts";

type Engine = Channel<PageCalls, EngineTopics, PageTopics>;

/** Two ends of a pipe that copies like a structured clone. */
function pipe(): [Port, Port] {
  const handlers: [Set<(message: unknown) => void>, Set<(message: unknown) => void>] = [new Set(), new Set()];
  const end = (own: 0 | 1): Port => ({
    post(message) {
      const copy: unknown = structuredClone(message);
      setImmediate(() => {
        for (const handler of handlers[own === 0 ? 1 : 0]) handler(copy);
      });
    },
    listen(handler) {
      handlers[own].add(handler);
      return () => void handlers[own].delete(handler);
    },
  });
  return [end(0), end(1)];
}

/** What the engine behind the worker was asked, and how it answers. */
interface Script {
  asked: string[];
  ask: (params: EngineCalls["engine/ask"]["params"], engine: Engine, signal: AbortSignal) => Promise<AskResult>;
}

const planned: AskPlan = {
  ...{ promptTokens: 9, reusedTokens: 0, restoredTokens: 0, recomputedTokens: 9, rope: { kind: "none" }, rows: [] },
  limit: { tokens: 2048, because: "trained length", explanation: "", wouldBe: 2048 },
};

function serveEngine(port: Port, script: Script): void {
  const never = (): never => {
    throw new EngineError("internal", "not asked for here", "");
  };
  const engine: Engine = openChannel<PageCalls, EngineCalls, EngineTopics, PageTopics>(
    port,
    {
      "engine/open": () => sessionInfo(),
      "engine/ask": (params, { signal }) => {
        script.asked.push(`ask ${params.question} of ${params.files.map(({ path, hash }) => `${path}@${hash}`).join(" ")}`);
        return script.ask(params, engine, signal);
      },
      "engine/reply": ({ runId, request }) => {
        const { temperature, topP, seed } = request.sampling;
        script.asked.push(`reply to ${request.messages.length} in ${request.maxAnswerTokens} at ${temperature} ${topP} ${seed}`);
        engine.publish("run", { runId, event: { type: "token", text: "hi" } });
        return { text: "hi", stoppedBy: "end", promptTokens: 3, reusedTokens: 0, restoredTokens: 0, answerTokens: 1 };
      },
      "engine/plan": () => planned,
      "engine/planAttention": never,
      "engine/previewRope": never,
      "engine/checkAnswer": never,
      "engine/searchRope": never,
      "engine/headFacts": never,
      "engine/pool": never,
      "engine/loseDevice": never,
    },
    { name: "engine" },
  );
}

interface Opened {
  store: Store;
  host: Channel<PanelCalls, HostTopics, PanelTopics>;
  events: { runId: string; event: AskEvent }[];
  saved: SavedRun[];
  page: Playground;
}

/** The page, once its engine is ready, from the host's side. */
async function openPage(): Promise<Opened> {
  const [page, port] = pipe();
  const saved: SavedRun[] = [];
  const reports: EngineReport[] = [];
  const nothing = () => ({});
  const refused = (): never => {
    throw new EngineError("internal", "not asked for here", "");
  };
  const host: Opened["host"] = openChannel<PanelCalls, HostCalls, HostTopics, PanelTopics>(
    port,
    {
      "workspace/files": () => ({ root: "w", revision: 1, files: [{ path: "own.ts", hash: "1", sizeBytes: 1, tokens: 1 }] }),
      "ask/check": () => ({ secrets: [], coldPrefixSeconds: 60 }),
      "levels/fit": refused,
      "tab/shown": nothing,
      "settings/read": () => panelSettings({ kind: "auto" }),
      "settings/write": nothing,
      "runs/list": () => [],
      "runs/save": (run) => {
        saved.push(run);
        return {};
      },
      "model/locate": () => ({ label: "tiny", files: [] }),
      "engine/report": (report) => {
        reports.push(report);
        return {};
      },
      "search/read": () => ({}),
      "search/save": nothing,
      "log/write": nothing,
      "file/read": refused,
      "citation/reveal": refused,
      "citation/revealAll": refused,
      "editor/insert": refused,
      "runs/delete": refused,
      "model/choose": refused,
      "prefix/open": () => ({}),
      "prefix/list": refused,
      "prefix/touch": refused,
      "prefix/delete": refused,
      "file/save": refused,
    },
    { name: "host" },
  );
  const events: Opened["events"] = [];
  host.subscribe("run", (run) => void events.push(run));
  const store = createStore(initialState({ tab: "ask", question: "" }));
  const made = createPlayground(store, page, { worker: "worker.js", ortWasm: "" });
  await until("the engine", 10_000, async () => (reports.at(-1)?.status === "ready" ? true : undefined));
  return { store, host, events, saved, page: made };
}

describe("the page behind VS Code's chat", () => {
  const script: Script = { asked: [], ask: async () => askResult() };
  const browserless: [string, unknown][] = ["fetch", "Worker", "location"].map((name) => [name, Reflect.get(globalThis, name)]);
  const question: ChosenQuestion = {
    question: "where?",
    files: [{ path: "chosen.ts", hash: "2", sizeBytes: 1 }],
    first: ["chosen.ts"],
    history: [],
    limited: false,
  };

  before(() => {
    // What a browser has and Node has not: the worker is an object at the other end of a pipe.
    class FakeWorker extends EventTarget {
      private readonly port: Port;
      constructor() {
        super();
        const [own, other] = pipe();
        this.port = own;
        own.listen((data) => this.dispatchEvent(new MessageEvent("message", { data })));
        serveEngine(other, script);
      }
      postMessage(message: unknown): void {
        this.port.post(message);
      }
      terminate(): void {
        // Nothing runs.
      }
    }
    Object.assign(globalThis, {
      fetch: async () => new Response("// the engine"),
      Worker: FakeWorker,
      location: { origin: "page" },
    });
  });

  after(() => {
    for (const [name, value] of browserless) Reflect.set(globalThis, name, value);
  });

  it("answers about the files that the host chose, tells how it goes, and keeps the run", async () => {
    const { host, events, saved, store } = await openPage();
    script.ask = async ({ runId, question: asked }, engine) => {
      engine.publish("run", { runId, event: { type: "packing", doneFiles: 1, totalFiles: 1 } });
      engine.publish("run", { runId, event: { type: "candidate", text: "there" } });
      return askResult({ question: asked });
    };
    const result = await host.call("panel/answer", { ...question, runId: "chat" });
    assert.equal(result.answer, "there");
    assert.deepEqual(script.asked.splice(0), ["ask where? of chosen.ts@2"]);
    assert.equal(saved[0]?.attached, undefined);
    assert.deepEqual(
      events.map(({ runId, event }) => `${runId} ${event.type}`),
      ["chat packing", "chat candidate"],
    );
    assert.deepEqual([saved[0]?.id, store.state.shownRun], ["chat", "chat"]);
    assert.equal(await host.call("panel/plan", question).then(({ promptTokens }) => promptTokens), 9);
    host.close();
  });

  it("is asked again, by the panel's button, about what it was limited to as that is now", async () => {
    const { host, saved, store, page } = await openPage();
    script.ask = async ({ question: asked }) => askResult({ question: asked });
    const files = [{ path: "own.ts", hash: "old", sizeBytes: 7, lines: [{ first: 2, last: 3 }], level: "outline" as const }];
    const limited = { ...question, files: [...files, ...question.files], limited: true };
    await host.call("panel/answer", { ...limited, runId: "chat" });
    assert.deepEqual(saved[0]?.attached, { files: limited.files, first: ["chosen.ts"] });
    page.answers.regenerate();
    await until("the run", 10_000, async () => (store.state.runs.length === 2 ? true : undefined));
    // One that changed is read as it is; one that the workspace does not list, as it was.
    assert.deepEqual(script.asked.splice(0), ["ask where? of own.ts@old chosen.ts@2", "ask where? of own.ts@1 chosen.ts@2"]);
    const again = saved[1]?.attached?.files[0];
    assert.deepEqual(again, { ...files[0], hash: "1", sizeBytes: 1 }, "its lines stay chosen");
    assert.deepEqual(store.state.thread, [saved[1]?.id]);
    host.close();
  });

  it("asks a person's own question from the whole workspace, and not for the chat's ears", async () => {
    const { host, events, store } = await openPage();
    assert.deepEqual(await host.call("panel/ask", { question: "mine?" }), { accepted: true });
    await until("the run", 10_000, async () => (store.state.runs.length === 1 ? true : undefined));
    assert.deepEqual(script.asked.splice(0), ["ask mine? of own.ts@1"]);
    assert.deepEqual(events, []);
    host.close();
  });

  it("stops the engine when the chat stops, and says why nothing came", async () => {
    const { host, store } = await openPage();
    const controller = new AbortController();
    script.ask = (_, _engine, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(abortedError()));
        controller.abort();
      });
    const asking = host.call("panel/answer", { ...question, runId: "chat" }, { signal: controller.signal });
    await assert.rejects(asking, (error) => EngineError.is(error, "aborted"));
    assert.equal(store.state.live, undefined);
    assert.equal(store.state.failed?.error.code, "aborted");
    script.asked.length = 0;
    host.close();
  });

  it("writes replies that are no runs, streamed under their id", async () => {
    const { host, events, saved, store } = await openPage();
    const messages = [{ role: "user" as const, content: "hello" }];
    const sampling = { temperature: 0.5, seed: 3 };
    const reply = await host.call("panel/reply", { runId: "r", messages, maxAnswerTokens: 7, sampling });
    assert.equal(reply.text, "hi");
    assert.deepEqual(script.asked.splice(0), ["reply to 1 in 7 at 0.5 1 3"], "what is not said comes from the settings");
    assert.deepEqual(events, [{ runId: "r", event: { type: "token", text: "hi" } }]);
    assert.deepEqual([saved.length, store.state.runs.length, store.state.replying], [0, 0, false]);
    host.close();
  });
});
