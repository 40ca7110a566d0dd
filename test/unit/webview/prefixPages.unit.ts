/** The page's way between the worker and the port of kept prefixes, with the port that the host opens. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { openPrefixFolder, type PrefixFolder } from "../../../extension/prefixes/prefixFolder.ts";
import { servePrefixes } from "../../../extension/prefixes/prefixServer.ts";
import { type HostPrefixCalls, prefixCalls } from "../../../webview/prefixPages.ts";
import { type Channel, openChannel, type Port } from "../../../webview/protocol/channel.ts";
import { withTempTree } from "../../support/tempTree.ts";

const name = { root: "0".repeat(32), page: 2, key: "f".repeat(32) };
const context = { signal: new AbortController().signal };

type None = Record<string, never>;

/** The page's end of a channel to a host that opens `base` and has `folder`. */
function hostOf(folder: PrefixFolder, base: string | undefined, asked: string[]): Channel<HostPrefixCalls, None, None> {
  const listeners: ((message: unknown) => void)[] = [];
  const portOf = (own: 0 | 1): Port => ({
    post: (message) => void setImmediate(() => listeners[1 - own]?.(message)),
    listen(handler) {
      listeners[own] = handler;
      return () => undefined;
    },
  });
  const heard = <Answer>(call: string, answer: Answer): Answer => {
    asked.push(call);
    return answer;
  };
  openChannel<None, HostPrefixCalls, None, None>(
    portOf(0),
    {
      "prefix/open": () => heard("prefix/open", { base }),
      "prefix/list": () => heard("prefix/list", folder.list()),
      "prefix/touch": async ({ names, lastUsed }) => heard("prefix/touch", (await folder.touch(names, lastUsed), {})),
      "prefix/delete": async ({ names }) => heard("prefix/delete", (await folder.delete(names), {})),
    },
    { name: "host" },
  );
  return openChannel<HostPrefixCalls, None, None, None>(portOf(1), {}, { name: "panel" });
}

function withPages(
  files: Record<string, string>,
  use: (calls: ReturnType<typeof prefixCalls>, asked: string[], close: () => Promise<void>) => Promise<void>,
): Promise<void> {
  return withTempTree(files, async (path) => {
    const folder = openPrefixFolder(join(path, "prefixes"), () => 1000);
    const server = await servePrefixes(folder, () => undefined);
    const asked: string[] = [];
    try {
      await use(prefixCalls(hostOf(folder, `http://127.0.0.1:${server.port}${server.base}`, asked)), asked, () => server.close());
    } finally {
      await server.close().catch(() => undefined);
    }
  });
}

describe("kept prefixes, through the page", () => {
  before(() => {
    Object.defineProperty(globalThis, "location", { value: { origin: "vscode-webview://one" }, configurable: true });
  });

  it("go to the disk and come back, and the port is asked for once", () =>
    withPages({}, async (calls, asked) => {
      assert.deepEqual(await calls["prefix/list"]({}, context), { entries: [], maxBytes: 1000 });
      assert.deepEqual(await calls["prefix/read"](name, context), {}, "none yet");
      const bytes = Uint8Array.of(1, 2, 3).buffer;
      await calls["prefix/write"]({ name, lastUsed: 77, bytes }, context);
      const read = await calls["prefix/read"](name, context);
      assert.deepEqual(read.bytes && new Uint8Array(read.bytes), Uint8Array.of(1, 2, 3));
      const { entries } = await calls["prefix/list"]({}, context);
      assert.deepEqual(entries, [{ ...name, bytes: 3, lastUsed: 77 }]);
      await calls["prefix/touch"]({ names: [name], lastUsed: 99 }, context);
      assert.equal((await calls["prefix/list"]({}, context)).entries[0]?.lastUsed, 99);
      await calls["prefix/delete"]({ names: [name] }, context);
      assert.deepEqual(await calls["prefix/read"](name, context), {});
      assert.equal(asked.filter((call) => call === "prefix/open").length, 1);
    }));

  it("are none where the host has no port", async () => {
    const asked: string[] = [];
    const calls = prefixCalls(
      hostOf(
        openPrefixFolder("/nowhere", () => 1000),
        undefined,
        asked,
      ),
    );
    assert.deepEqual(await calls["prefix/list"]({}, context), { entries: [], maxBytes: 0 });
    assert.deepEqual(asked, ["prefix/open"]);
  });

  it("say why they could not be kept or reached", () =>
    withPages({ prefixes: "a file, not a folder" }, async (calls, _, close) => {
      const write = () => calls["prefix/write"]({ name, lastUsed: 1, bytes: new ArrayBuffer(8) }, context);
      const says = (text: RegExp) => (error: unknown) => EngineError.is(error, "storage-failed") && text.test(error.message);
      await assert.rejects(async () => write(), says(/was not kept/));
      await close();
      await assert.rejects(async () => write(), says(/no connection to the extension/));
    }));
});
