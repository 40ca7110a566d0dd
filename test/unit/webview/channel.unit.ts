import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { openChannel, PROTOCOL_VERSION } from "../../../webview/protocol/channel.ts";
import type { Channel, Port } from "../../../webview/protocol/channel.ts";

interface Tests {
  "test/add": { params: { a: number; b: number }; result: number };
  "test/boom": { params: Record<string, never>; result: never };
  "test/wait": { params: Record<string, never>; result: string };
  "test/bytes": { params: Record<string, never>; result: { bytes: ArrayBuffer } };
}
interface Topics {
  budget: { revision: number; tokens: number };
  run: { text: string };
}
type None = Record<string, never>;

/** Two ends of a pipe that copies like a structured clone and delivers in a later task; `sent` records what crossed. */
function pipe(): { left: Port; right: Port; sent: { message: unknown; transfer: readonly ArrayBuffer[] }[] } {
  const handlers: [Set<(message: unknown) => void>, Set<(message: unknown) => void>] = [new Set(), new Set()];
  const sent: { message: unknown; transfer: readonly ArrayBuffer[] }[] = [];
  const end = (own: 0 | 1, other: 0 | 1): Port => ({
    post(message, transfer = []) {
      sent.push({ message, transfer });
      const copy: unknown = structuredClone(message, { transfer: [...transfer] });
      setImmediate(() => {
        for (const handler of handlers[other]) handler(copy);
      });
    },
    listen(handler) {
      handlers[own].add(handler);
      return () => {
        handlers[own].delete(handler);
      };
    },
  });
  return { left: end(0, 1), right: end(1, 0), sent };
}

interface Pair {
  client: Channel<Tests, None, Topics>;
  server: Channel<None, Topics, None>;
  aborted: Promise<void>;
  sent: { message: unknown; transfer: readonly ArrayBuffer[] }[];
  right: Port;
}

function serve(port: Port, onAbort: () => void = () => undefined): Channel<None, Topics, None> {
  return openChannel<None, Tests, Topics, None>(
    port,
    {
      "test/add": ({ a, b }) => a + b,
      "test/boom": () => {
        throw new EngineError("kv-cache-too-large", "the cache is too large", "lower the context", { needMiB: 6144 });
      },
      "test/wait": (_, { signal }) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            onAbort();
            resolve("what there was");
          });
        }),
      "test/bytes": () => ({ bytes: new Uint8Array([1, 2, 3]).buffer }),
    },
    { name: "server", transferResults: true },
  );
}

function pair(): Pair {
  const { left, right, sent } = pipe();
  let onAbort = (): void => undefined;
  const aborted = new Promise<void>((resolve) => {
    onAbort = resolve;
  });
  const server = serve(right, () => {
    onAbort();
  });
  const client = openChannel<Tests, None, None, Topics>(left, {}, { name: "client" });
  return { client, server, aborted, sent, right };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(() => setImmediate(resolve))));

describe("channel", () => {
  it("answers a call with its value", async () => {
    const { client } = pair();
    assert.equal(await client.call("test/add", { a: 2, b: 3 }), 5);
  });

  it("rebuilds an error with code, facts and remedy, and the caller's stack", async () => {
    const { client } = pair();
    await assert.rejects(client.call("test/boom", {}), (error: unknown) => {
      assert.ok(EngineError.is(error, "kv-cache-too-large"));
      assert.equal(error.remedy, "lower the context");
      assert.deepEqual(error.facts, { needMiB: 6144 });
      assert.match(error.stack ?? "", /channel\.unit/);
      return true;
    });
  });

  it("carries an abort to the handler, whose answer still settles the call", async () => {
    const { client, aborted } = pair();
    const controller = new AbortController();
    const call = client.call("test/wait", {}, { signal: controller.signal });
    await client.ready;
    await turn();
    controller.abort();
    await aborted;
    assert.equal(await call, "what there was");
  });

  it("rejects at once a call whose signal is already aborted", async () => {
    const { client } = pair();
    await assert.rejects(client.call("test/wait", {}, { signal: AbortSignal.abort() }), { code: "aborted" });
  });

  it("sends nothing before hello, and what was queued afterwards", async () => {
    const { left, right, sent } = pipe();
    const client = openChannel<Tests, None, None, Topics>(left, {}, { name: "client" });
    const call = client.call("test/add", { a: 1, b: 1 });
    await turn();
    assert.deepEqual(
      sent.map(({ message }) => (message as { kind: string }).kind),
      ["hello"],
    );
    serve(right);
    assert.equal(await call, 2);
  });

  it("refuses a peer of another protocol, on both sides", async () => {
    const { left, right, sent } = pipe();
    const client = openChannel<Tests, None, None, Topics>(left, {}, { name: "client" });
    const call = client.call("test/add", { a: 1, b: 1 });
    const hello = sent[0]?.message as { version: number };
    right.post({ ...hello, version: PROTOCOL_VERSION + 1, from: "host", instance: "other" });
    await assert.rejects(client.ready, { code: "protocol-mismatch" });
    await assert.rejects(call, { code: "protocol-mismatch" });
    await assert.rejects(client.call("test/add", { a: 1, b: 1 }), { code: "protocol-mismatch" });
  });

  it("rejects what is pending and what comes later when it closes", async () => {
    const { client } = pair();
    const call = client.call("test/wait", {});
    await client.ready;
    client.close("the panel was closed");
    await assert.rejects(call, { code: "aborted", message: "the panel was closed" });
    await assert.rejects(client.call("test/add", { a: 1, b: 1 }), { code: "aborted" });
  });

  it("keeps the snapshot of the highest revision and hands it to a late listener", async () => {
    const { client, server } = pair();
    const seen: number[] = [];
    client.subscribe("budget", ({ tokens }) => seen.push(tokens));
    for (const [revision, tokens] of [
      [1, 10],
      [3, 30],
      [2, 20],
    ] as const) {
      server.publish("budget", { revision, tokens });
    }
    await turn();
    assert.deepEqual(seen, [10, 30]);
    const late: number[] = [];
    client.subscribe("budget", ({ tokens }) => late.push(tokens));
    assert.deepEqual(late, [30]);
  });

  it("delivers every event of a topic without revisions, until the listener leaves", async () => {
    const { client, server } = pair();
    const seen: string[] = [];
    const leave = client.subscribe("run", ({ text }) => seen.push(text));
    server.publish("run", { text: "a" });
    server.publish("run", { text: "b" });
    await turn();
    leave();
    server.publish("run", { text: "c" });
    await turn();
    assert.deepEqual(seen, ["a", "b"]);
  });

  it("sends the newest snapshot again to a page that reloaded", async () => {
    const { left, right } = pipe();
    const server = serve(right);
    const first = openChannel<Tests, None, None, Topics>(left, {}, { name: "page" });
    await first.ready;
    server.publish("budget", { revision: 7, tokens: 70 });
    await turn();
    first.close();
    const seen: number[] = [];
    const second = openChannel<Tests, None, None, Topics>(left, {}, { name: "page" });
    second.subscribe("budget", ({ tokens }) => seen.push(tokens));
    await second.ready;
    await turn();
    assert.deepEqual(seen, [70]);
  });

  it("transfers top-level buffers of results where the port can", async () => {
    const { client, sent } = pair();
    const { bytes } = await client.call("test/bytes", {});
    assert.deepEqual([...new Uint8Array(bytes)], [1, 2, 3]);
    assert.equal(sent.at(-1)?.transfer.length, 1);
  });

  it("ignores messages that are not its own or not whole", async () => {
    const { client, right, sent } = pair();
    await client.ready;
    const wire = (sent[0]?.message as { wire: string }).wire;
    for (const stray of [
      null,
      7,
      "hello",
      {},
      { wire },
      { wire, kind: "value" },
      { wire, kind: "error", id: 1, error: { code: "made-up" } },
    ]) {
      right.post(stray);
    }
    assert.equal(await client.call("test/add", { a: 4, b: 4 }), 8);
  });
});
