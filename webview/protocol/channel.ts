/**
 * The only RPC of the project, used by host <-> panel and panel <-> worker alike. It carries four things: value, error,
 * abort and hello. PROTOCOL.md beside this file says the rules in prose.
 */
import { EngineError, abortedError, plainError } from "../../engine/errors.ts";
import type { ErrorCode, PlainError } from "../../engine/errors.ts";

/** Raised whenever a message of one of the two wires changes shape. */
export const PROTOCOL_VERSION = 7;

/** One direction-less pipe: a webview, a worker, or a fake in a test. */
export interface Port {
  post(message: unknown, transfer?: readonly ArrayBuffer[]): void;
  /** Returns a function that stops listening. */
  listen(handler: (message: unknown) => void): () => void;
}

/** The constraint on a contract: every entry is a request and its reply. */
export type Calls<T> = { [Name in keyof T]: { params: unknown; result: unknown } };

/** Total map: a new call does not compile until it is answered. */
export type Handlers<In extends Calls<In>> = {
  [Name in keyof In]: (
    params: In[Name]["params"],
    context: { signal: AbortSignal },
  ) => Promise<In[Name]["result"]> | In[Name]["result"];
};

export interface CallOptions {
  /** Asks the other side to stop; its answer (what it has, or the `aborted` error) still settles the call. */
  signal?: AbortSignal;
  transfer?: readonly ArrayBuffer[];
}

export interface Channel<Out extends Calls<Out>, OutTopics, InTopics> {
  /** Rejects with the EngineError the handler threw, carrying the stack of this call. */
  call<Name extends keyof Out & string>(
    name: Name,
    params: Out[Name]["params"],
    options?: CallOptions,
  ): Promise<Out[Name]["result"]>;
  /** A value with a `revision` is a whole snapshot: the newest is sent again to a page that reloads. */
  publish<Name extends keyof OutTopics & string>(topic: Name, value: OutTopics[Name]): void;
  /** A snapshot older than one already seen is dropped; a late listener gets the newest at once. */
  subscribe<Name extends keyof InTopics & string>(topic: Name, listener: (value: InTopics[Name]) => void): () => void;
  /** Settles with the first hello; rejects with `protocol-mismatch` or, when closed before, `aborted`. */
  readonly ready: Promise<void>;
  close(reason?: string): void;
}

export interface ChannelOptions {
  /** Who is at this end, for messages: "panel", "host", "engine". */
  name: string;
  /** Transfer top-level buffers of results instead of copying them; only a worker port can. */
  transferResults?: boolean;
}

/** Opens one end; both ends may open in any order. */
export function openChannel<Out extends Calls<Out>, In extends Calls<In>, OutTopics, InTopics>(
  port: Port,
  handlers: Handlers<In>,
  options: ChannelOptions,
): Channel<Out, OutTopics, InTopics> {
  const self = nextInstance();
  const pending = new Map<number, Pending>();
  const running = new Map<number, AbortController>();
  const listeners = new Map<string, Set<(value: unknown) => void>>();
  const published = new Map<string, unknown>();
  const received = new Map<string, unknown>();
  const queue: (() => void)[] = [];
  const gate = deferred();
  let peer: string | undefined;
  let ended: EngineError | undefined;
  let lastId = 0;

  const post = (message: Message, transfer?: readonly ArrayBuffer[]): void => {
    port.post({ wire: WIRE, ...message }, transfer);
  };
  const whenReady = (send: () => void): void => {
    if (peer === undefined) queue.push(send);
    else send();
  };

  /** Everything that waits on the other side ends with `error`. */
  const forgetPeer = (error: EngineError): void => {
    for (const controller of running.values()) controller.abort();
    running.clear();
    const waiting = [...pending.values()];
    pending.clear();
    for (const call of waiting) call.reject(error.toPlain());
  };
  const end = (error: EngineError): void => {
    if (ended) return;
    ended = error;
    stopListening();
    queue.length = 0;
    forgetPeer(error);
    gate.reject(error);
    listeners.clear();
  };

  const onHello = (message: Extract<Message, { kind: "hello" }>): void => {
    if (message.version !== PROTOCOL_VERSION) {
      // The other end is told before this one goes deaf, so that both name the mismatch.
      if (!message.answer) post({ kind: "hello", version: PROTOCOL_VERSION, from: options.name, instance: self, answer: true });
      end(mismatch(options.name, message.from, message.version));
      return;
    }
    if (!message.answer) post({ kind: "hello", version: PROTOCOL_VERSION, from: options.name, instance: self, answer: true });
    if (message.instance === peer) return;
    const reloaded = peer !== undefined;
    peer = message.instance;
    if (reloaded) {
      received.clear();
      forgetPeer(new EngineError("aborted", `the ${message.from} was reloaded`, "ask again"));
      for (const [topic, value] of published) post({ kind: "topic", topic, value });
    }
    for (const send of queue.splice(0)) send();
    gate.resolve();
  };

  const onCall = async (message: Extract<Message, { kind: "call" }>): Promise<void> => {
    const controller = new AbortController();
    running.set(message.id, controller);
    try {
      const handler = Object.hasOwn(handlers, message.name) ? handlers[message.name as keyof In] : undefined;
      if (!handler) throw mismatch(options.name, "the caller", PROTOCOL_VERSION, message.name);
      // The contract types both ends; the version in `hello` is what makes this assertion hold.
      const value: unknown = await handler(message.params, { signal: controller.signal });
      if (running.get(message.id) !== controller) return;
      post({ kind: "value", id: message.id, value }, options.transferResults ? topLevelBuffers(value) : undefined);
    } catch (error) {
      if (running.get(message.id) === controller) post({ kind: "error", id: message.id, error: plainError(error) });
    } finally {
      if (running.get(message.id) === controller) running.delete(message.id);
    }
  };

  const onTopic = (topic: string, value: unknown): void => {
    const revision = revisionOf(value);
    if (revision !== undefined) {
      if (revision < (revisionOf(received.get(topic)) ?? -Infinity)) return;
      received.set(topic, value);
    }
    for (const listener of [...(listeners.get(topic) ?? [])]) listener(value);
  };

  const stopListening = port.listen((raw) => {
    if (ended || !isMessage(raw)) return;
    if (raw.kind === "hello") onHello(raw);
    else if (peer === undefined) return;
    else if (raw.kind === "call") void onCall(raw);
    else if (raw.kind === "abort") running.get(raw.id)?.abort();
    else if (raw.kind === "topic") onTopic(raw.topic, raw.value);
    else {
      const call = pending.get(raw.id);
      pending.delete(raw.id);
      if (raw.kind === "value") call?.resolve(raw.value);
      else call?.reject(raw.error);
    }
  });
  post({ kind: "hello", version: PROTOCOL_VERSION, from: options.name, instance: self, answer: false });

  return {
    ready: gate.promise,
    call<Name extends keyof Out & string>(name: Name, params: Out[Name]["params"], { signal, transfer }: CallOptions = {}) {
      const site = new Error(name);
      return new Promise<Out[Name]["result"]>((resolve, reject) => {
        const fail = (plain: PlainError): void => {
          signal?.removeEventListener("abort", onAbort);
          reject(withStack(EngineError.fromPlain(plain), site));
        };
        let sent = false;
        const id = ++lastId;
        const onAbort = (): void => {
          if (sent) post({ kind: "abort", id });
          else if (pending.delete(id)) fail(abortedError().toPlain());
        };
        if (ended ?? signal?.aborted) {
          fail((ended ?? abortedError()).toPlain());
          return;
        }
        signal?.addEventListener("abort", onAbort, { once: true });
        pending.set(id, {
          reject: fail,
          resolve: (value) => {
            signal?.removeEventListener("abort", onAbort);
            resolve(value);
          },
        });
        whenReady(() => {
          if (!pending.has(id)) return;
          sent = true;
          post({ kind: "call", id, name, params }, transfer);
        });
      });
    },
    publish(topic, value) {
      if (ended) return;
      if (revisionOf(value) !== undefined) published.set(topic, value);
      whenReady(() => {
        post({ kind: "topic", topic, value });
      });
    },
    subscribe<Name extends keyof InTopics & string>(topic: Name, listener: (value: InTopics[Name]) => void) {
      const heard = (value: unknown): void => {
        listener(value as InTopics[Name]);
      };
      const set = listeners.get(topic) ?? new Set();
      listeners.set(topic, set.add(heard));
      if (received.has(topic)) heard(received.get(topic));
      return () => {
        set.delete(heard);
      };
    },
    close(reason = "the channel was closed") {
      end(new EngineError("aborted", reason, "open the panel again"));
    },
  };
}

const WIRE = "long-context-playground";

type Message =
  | { kind: "hello"; version: number; from: string; instance: string; answer: boolean }
  | { kind: "call"; id: number; name: string; params: unknown }
  | { kind: "value"; id: number; value: unknown }
  | { kind: "error"; id: number; error: PlainError }
  | { kind: "abort"; id: number }
  | { kind: "topic"; topic: string; value: unknown };

interface Pending {
  resolve(value: unknown): void;
  reject(error: PlainError): void;
}

/** Anything on a shared `message` event that is not ours, or not whole, is not a message. */
function isMessage(raw: unknown): raw is Message {
  if (!isRecord(raw) || raw["wire"] !== WIRE) return false;
  switch (raw["kind"]) {
    case "hello":
      return (
        typeof raw["version"] === "number" &&
        typeof raw["from"] === "string" &&
        typeof raw["instance"] === "string" &&
        typeof raw["answer"] === "boolean"
      );
    case "call":
      return Number.isInteger(raw["id"]) && typeof raw["name"] === "string";
    case "value":
    case "abort":
      return Number.isInteger(raw["id"]);
    case "error":
      return Number.isInteger(raw["id"]) && isPlainError(raw["error"]);
    case "topic":
      return typeof raw["topic"] === "string";
    default:
      return false;
  }
}

function isPlainError(raw: unknown): raw is PlainError {
  return (
    isRecord(raw) &&
    typeof raw["code"] === "string" &&
    Object.hasOwn(errorCodes, raw["code"]) &&
    typeof raw["message"] === "string" &&
    typeof raw["remedy"] === "string" &&
    isRecord(raw["facts"])
  );
}

/** Total by type: a new code does not compile until it may cross. */
const errorCodes: Record<ErrorCode, true> = {
  aborted: true,
  "bad-argument": true,
  "bad-weights": true,
  busy: true,
  "context-too-long": true,
  "device-lost": true,
  "download-damaged": true,
  "empty-workspace": true,
  "hub-offline": true,
  "hub-refused": true,
  "hub-unreachable": true,
  internal: true,
  "kv-cache-too-large": true,
  "limit-exceeded": true,
  "no-adapter": true,
  "no-such-folder": true,
  "not-found": true,
  "protocol-mismatch": true,
  "rope-invalid": true,
  "storage-failed": true,
  "tokenizer-invalid": true,
  "unsupported-model": true,
  "unsupported-tokenizer": true,
  "weights-missing": true,
};

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function revisionOf(value: unknown): number | undefined {
  return isRecord(value) && typeof value["revision"] === "number" ? value["revision"] : undefined;
}

/** Buffers directly in a result (`{ bytes }`, `{ cells }`); deeper ones are copied. A view of a part keeps its buffer here. */
function topLevelBuffers(value: unknown): ArrayBuffer[] {
  if (!isRecord(value)) return [];
  const found = new Set<ArrayBuffer>();
  for (const part of Object.values(value)) {
    if (part instanceof ArrayBuffer) found.add(part);
    else if (ArrayBuffer.isView(part) && part.buffer instanceof ArrayBuffer && part.byteLength === part.buffer.byteLength)
      found.add(part.buffer);
  }
  return [...found];
}

function mismatch(here: string, there: string, version: number, call?: string): EngineError {
  const what =
    call === undefined ? `${there} speaks protocol ${version}, ${here} ${PROTOCOL_VERSION}` : `${here} knows no call "${call}"`;
  return new EngineError("protocol-mismatch", what, "reload the window, so that both sides are of one version", { version });
}

/** The remote error with the stack of the call that met it: a stack of the other process would name nothing here. */
function withStack(error: EngineError, site: Error): EngineError {
  const frames = (site.stack ?? "").split("\n").slice(1).join("\n");
  error.stack = `${error.name}: ${error.message}\n${frames}`;
  return error;
}

let instances = 0;
/** Tells a reloaded page from a second hello of the same one. */
function nextInstance(): string {
  return `${Date.now().toString(36)}-${(++instances).toString(36)}-${Math.random().toString(36).slice(2)}`;
}

function deferred(): { promise: Promise<void>; resolve(): void; reject(error: EngineError): void } {
  let resolve = (): void => undefined;
  let reject: (error: EngineError) => void = () => undefined;
  const promise = new Promise<void>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  // Not everybody awaits `ready`; every call that waited on it is rejected by itself.
  promise.then(undefined, () => undefined);
  return { promise, resolve, reject };
}
