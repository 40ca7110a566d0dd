/** The page's end of the engine: starts the worker, answers what only the page can fetch, and survives the worker's death. */
import type { PooledAttention, PoolRequest } from "../engine/api.ts";
import type { AttentionFacts } from "../engine/attention/api.ts";
import type { AnswerCheck, AskPlan, AskResult, Reply } from "../engine/generate/api.ts";
import { EngineError, plainError } from "../engine/errors.ts";
import type { RopePreview, RopeSearchResult } from "../engine/eval/api.ts";
import type { AttentionTable } from "../engine/planner/api.ts";
import { readModelRange, readOrtWasm } from "./pageFiles.ts";
import { prefixCalls } from "./prefixPages.ts";
import { openChannel } from "./protocol/channel.ts";
import type { Channel } from "./protocol/channel.ts";
import type { HostCalls, HostTopics, PanelSettings, PanelTopics } from "./protocol/panel.ts";
import type { EngineCalls, EngineTopics, PageCalls, PageTopics } from "./protocol/worker.ts";
import { startWorker } from "./startWorker.ts";
import type { Action } from "./state/store.ts";

/** Addresses the host put on the page. */
export interface PageAddresses {
  worker: string;
  ortWasm: string;
}

export type Host = Channel<HostCalls, PanelTopics, HostTopics>;

export interface EngineClient {
  /** Starts anew with these settings; whatever ran before ends with `aborted`. */
  open(settings: PanelSettings): void;
  /** Waits for the engine to open; throws what opening or the run threw. */
  ask(params: EngineCalls["engine/ask"]["params"], signal: AbortSignal): Promise<AskResult>;
  /** The next turn of a conversation that is not about the workspace. */
  reply(params: EngineCalls["engine/reply"]["params"], signal: AbortSignal): Promise<Reply>;
  /** What a question would cost; throws what `Session.plan` throws. */
  plan(params: EngineCalls["engine/plan"]["params"], signal: AbortSignal): Promise<AskPlan>;
  /** What a prompt would take in every way to attend; some seconds the first time. */
  planAttention(params: EngineCalls["engine/planAttention"]["params"], signal: AbortSignal): Promise<AttentionTable>;
  /** The last question under another scaling, approximately. */
  previewRope(params: EngineCalls["engine/previewRope"]["params"], signal: AbortSignal): Promise<RopePreview>;
  /** How much the last answer depends on what it cites; throws what `Session.checkAnswer` throws. */
  checkAnswer(params: EngineCalls["engine/checkAnswer"]["params"], signal: AbortSignal): Promise<AnswerCheck>;
  /** Waits for the engine to open; an abort gives what there is. */
  searchRope(params: EngineCalls["engine/searchRope"]["params"], signal: AbortSignal): Promise<RopeSearchResult>;
  pool(request: PoolRequest, signal: AbortSignal): Promise<PooledAttention>;
  headFacts(queries: number, signal: AbortSignal): Promise<AttentionFacts>;
  loseDevice(): Promise<{ lost: boolean }>;
}

type EngineChannel = Channel<EngineCalls, PageTopics, EngineTopics>;

export function createEngine(host: Host, addresses: PageAddresses, dispatch: (action: Action) => void): EngineClient {
  let life = new AbortController();
  let opened = rejected<EngineChannel>(
    new EngineError("aborted", "the engine is not open yet", "wait until the panel shows a model"),
  );

  /** Opens one worker; it lives until `own` is aborted. */
  const start = async (settings: PanelSettings, own: AbortController): Promise<EngineChannel> => {
    const { signal } = own;
    const stage = (text: string, doneBytes = 0, totalBytes = 0): void => {
      if (!signal.aborted) dispatch({ type: "engineStarting", stage: text, doneBytes, totalBytes });
    };
    stage("looking for the model");
    const model = await host.call("model/locate", { origin: location.origin }, { signal });
    stage("starting the engine");
    const worker = await startWorker(addresses.worker);
    const channel: EngineChannel = openChannel<EngineCalls, PageCalls, PageTopics, EngineTopics>(
      worker.port,
      {
        "file/read": (params, context) => host.call("file/read", params, context),
        "model/read": async ({ name, offset, length }, context) => ({
          bytes: await readModelRange(model, name, offset, length, context.signal),
        }),
        ...prefixCalls(host),
        "ort/assets": async (_, context) => ({ wasm: await readOrtWasm(addresses.ortWasm, context.signal) }),
      },
      { name: "panel", transferResults: true },
    );
    const stop = (): void => {
      channel.close("the engine was restarted");
      worker.stop();
    };
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    void worker.crashed.then((error) => {
      // Said before the channel closes, so that a run in flight ends with the cause and not with the closing.
      if (!signal.aborted) dispatch({ type: "engineFailed", error: error.toPlain() });
      own.abort();
    });
    channel.subscribe("opening", (opening) => {
      stage(opening.stage, opening.doneBytes, opening.totalBytes);
    });
    channel.subscribe("session", (info) => {
      dispatch({ type: "engineReady", info });
    });
    channel.subscribe("run", (run) => {
      dispatch({ type: "runEvent", ...run });
    });
    channel.subscribe("check", (check) => {
      dispatch({ type: "checkEvent", ...check });
    });
    channel.subscribe("search", (search) => {
      dispatch({ type: "searchEvent", ...search });
    });
    const files = model.files.map(({ name, sizeBytes, pieceBytes }) => ({ name, sizeBytes, pieceBytes }));
    const { backend, weightFormat, products, kv } = settings;
    const { label, ggufName } = model;
    const info = await channel.call("engine/open", { label, ggufName, files, backend, weightFormat, products, kv });
    if (!signal.aborted) dispatch({ type: "engineReady", info });
    return channel;
  };

  return {
    open(settings) {
      life.abort();
      const own = new AbortController();
      life = own;
      opened = start(settings, own);
      opened.catch((error: unknown) => {
        if (!own.signal.aborted) dispatch({ type: "engineFailed", error: plainError(error) });
        own.abort();
      });
    },
    async ask(params, signal) {
      const channel = await unlessAborted(opened, signal);
      return channel.call("engine/ask", params, { signal });
    },
    async reply(params, signal) {
      const channel = await unlessAborted(opened, signal);
      return channel.call("engine/reply", params, { signal });
    },
    async plan(params, signal) {
      return (await opened).call("engine/plan", params, { signal });
    },
    async planAttention(params, signal) {
      return (await opened).call("engine/planAttention", params, { signal });
    },
    async previewRope(params, signal) {
      return (await opened).call("engine/previewRope", params, { signal });
    },
    async checkAnswer(params, signal) {
      return (await opened).call("engine/checkAnswer", params, { signal });
    },
    async searchRope(params, signal) {
      const channel = await unlessAborted(opened, signal);
      return channel.call("engine/searchRope", params, { signal });
    },
    async pool(request, signal) {
      return (await opened).call("engine/pool", request, { signal });
    },
    async headFacts(queries, signal) {
      return (await opened).call("engine/headFacts", { queries }, { signal });
    },
    async loseDevice() {
      return (await opened).call("engine/loseDevice", {});
    },
  };
}

/** Waits for the engine, but not past the user's patience. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      reject(new EngineError("aborted", "stopped before the model was open", "ask again when it is"));
    };
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject);
  });
}

/** A promise that fails for whoever awaits it, and is no unhandled rejection while nobody does. */
function rejected<T>(error: EngineError): Promise<T> {
  const promise = Promise.reject<T>(error);
  promise.catch(() => undefined);
  return promise;
}
