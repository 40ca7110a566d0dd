/** The engine's worker: a session of engine/ behind the calls of protocol/worker.ts. It fetches nothing; the page does. */
import type { Runtime } from "../engine/api.ts";
import type { AskRequest } from "../engine/generate/api.ts";
import { EngineError } from "../engine/errors.ts";
import type { PrefixStore } from "../engine/kv-cache/api.ts";
import { openSession } from "../engine/session.ts";
import type { Session } from "../engine/session.ts";
import { listedModelFiles, type ListedModel, type ReadPiece } from "./modelPieces.ts";
import { openChannel } from "./protocol/channel.ts";
import type { Channel, Port } from "./protocol/channel.ts";
import type { EngineCalls, EngineTopics, PageCalls, PageTopics } from "./protocol/worker.ts";
import { isRingRank, serveRingRank } from "./ringRank.ts";
import { ringWorkers } from "./ringWorkers.ts";

// Where the engine's own worker started this script again, there is no page behind the channel below, and nobody calls.
if (isRingRank()) serveRingRank();

const pagePort: Port = {
  post(message, transfer = []) {
    globalThis.postMessage(message, { transfer: [...transfer] });
  },
  listen(handler) {
    const listener = (event: MessageEvent<unknown>): void => {
      handler(event.data);
    };
    globalThis.addEventListener("message", listener);
    return () => {
      globalThis.removeEventListener("message", listener);
    };
  },
};

let session: Session | undefined;

const page: Channel<PageCalls, EngineTopics, PageTopics> = openChannel<PageCalls, EngineCalls, EngineTopics, PageTopics>(
  pagePort,
  {
    "engine/open": async ({ label, ggufName, files, backend, weightFormat, products, kv }) => {
      session?.close();
      session = undefined;
      const model = { label, ggufName, files };
      const opened = await openSession(listedModelFiles(model, readPiece), runtime(model), {
        backend,
        weightFormat,
        products,
        kv,
        prefixes: prefixStore,
        onProgress: (stage, doneBytes, totalBytes) => {
          page.publish("opening", { stage, doneBytes, totalBytes });
        },
      });
      session = opened;
      return opened.info;
    },
    "engine/ask": ({ runId, question, files, first, history, options }, { signal }) =>
      openedSession().ask({ ...options, question, files, first, history, readFile: fileReader(signal) }, signal, (event) => {
        page.publish("run", { runId, event });
        if (event.type === "recovered") page.publish("session", openedSession().info);
      }),
    "engine/reply": ({ runId, request }, { signal }) =>
      openedSession().reply(request, signal, (event) => {
        page.publish("run", { runId, event });
        if (event.type === "recovered") page.publish("session", openedSession().info);
      }),
    "engine/plan": ({ question, files, first, history, options }, { signal }) =>
      openedSession().plan({ ...options, question, files, first, history, readFile: fileReader(signal) }, signal),
    "engine/planAttention": (request, { signal }) => openedSession().planAttention(request, signal),
    "engine/previewRope": ({ runId, rope }, { signal }) =>
      openedSession().previewRope(rope, signal, (event) => {
        page.publish("run", { runId, event });
      }),
    "engine/checkAnswer": ({ checkId }, { signal }) =>
      openedSession().checkAnswer(signal, (progress) => {
        page.publish("check", { checkId, progress });
      }),
    "engine/searchRope": ({ searchId, request }, { signal }) =>
      openedSession().searchRope({ ...request, readFile: fileReader(signal) }, signal, (event) => {
        page.publish("search", { searchId, event });
        if (event.type === "recovered") page.publish("session", openedSession().info);
      }),
    "engine/headFacts": ({ queries }, { signal }) => openedSession().headFacts(queries, signal),
    "engine/pool": (request, { signal }) => openedSession().pool(request, signal),
    "engine/loseDevice": () => ({ lost: openedSession().loseDevice() }),
  },
  { name: "engine", transferResults: true },
);

/** Kept prefixes, as far as the page reaches them. */
const prefixStore: PrefixStore = {
  list: () => page.call("prefix/list", {}),
  async read(name) {
    const { bytes } = await page.call("prefix/read", name);
    return bytes && new Uint8Array(bytes);
  },
  async write(name, { buffer }, lastUsed) {
    await page.call("prefix/write", { name, lastUsed, bytes: buffer }, { transfer: [buffer] });
  },
  async touch(names, lastUsed) {
    await page.call("prefix/touch", { names: [...names], lastUsed });
  },
  async delete(names) {
    await page.call("prefix/delete", { names: [...names] });
  },
};

/** Reads files of the snapshot through the page, until its own signal or that of the call is aborted. */
function fileReader(signal: AbortSignal): AskRequest["readFile"] {
  return async ({ path, hash }, stop) =>
    new Uint8Array((await page.call("file/read", { path, hash }, { signal: stop ?? signal })).bytes);
}

function openedSession(): Session {
  if (!session) throw new EngineError("internal", "the engine was asked before a model was open", "restart the engine");
  return session;
}

/** Bytes of a model file through the page. */
const readPiece: ReadPiece = async (name, offset, length, signal) =>
  (await page.call("model/read", { name, offset, length }, { signal })).bytes;

function runtime(model: ListedModel): Runtime {
  return {
    gpu: navigator.gpu,
    ring: ringWorkers(globalThis.location.href, model, readPiece),
    ortWasm: async () => (await page.call("ort/assets", {})).wasm,
    ortThreads: 1,
  };
}
