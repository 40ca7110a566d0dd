import assert from "node:assert/strict";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { LoopbackPort } from "../../../extension/loopback.ts";
import { openPrefixFolder, type PrefixFolder } from "../../../extension/prefixes/prefixFolder.ts";
import { servePrefixes } from "../../../extension/prefixes/prefixServer.ts";
import { withTempTree } from "../../support/tempTree.ts";

const page = "vscode-webview://one";
const ROOT = "0".repeat(32);
const KEY = "f".repeat(32);
const name = { root: ROOT, page: 7, key: KEY };
const bytes = Uint8Array.from({ length: 3_000_000 }, (_, index) => index % 251);

interface Opened {
  server: LoopbackPort;
  folder: PrefixFolder;
  address: string;
  warnings: string[];
}

function withServer(use: (opened: Opened) => Promise<void>, files: Record<string, string> = {}): Promise<void> {
  return withTempTree(files, async (path) => {
    const folder = openPrefixFolder(join(path, "prefixes"), () => 1e9);
    const warnings: string[] = [];
    const server = await servePrefixes(folder, (message) => warnings.push(message));
    try {
      await use({ server, folder, warnings, address: `http://127.0.0.1:${server.port}${server.base}/${ROOT}/7/${KEY}` });
    } finally {
      await server.close();
    }
  });
}

test("a page goes in and comes out whole, with the time of its last use", () =>
  withServer(async ({ folder, address }) => {
    assert.equal((await fetch(address)).status, 404);
    assert.equal((await fetch(`${address}/1700000000123`, { method: "PUT", body: bytes })).status, 204);
    assert.deepEqual((await folder.list()).entries, [{ ...name, bytes: bytes.length, lastUsed: 1_700_000_000_123 }]);
    const answer = await fetch(address);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("cache-control"), "no-store");
    assert.deepEqual(new Uint8Array(await answer.arrayBuffer()), bytes);
    await folder.delete([name]);
    assert.equal((await fetch(address)).status, 404);
  }));

test("a page whose window goes away while it is sent is no page", () =>
  withServer(async ({ server, folder, warnings }) => {
    const socket = connect(server.port, "127.0.0.1");
    const path = `${server.base}/${ROOT}/7/${KEY}/5`;
    socket.write(`PUT ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(5000)}`);
    await sleep(100);
    socket.destroy();
    while (warnings.length === 0) await sleep(10);
    assert.deepEqual((await folder.list()).entries, []);
  }));

test("nothing is kept without a length, a time or a name", () =>
  withServer(async ({ server, folder, address }) => {
    assert.equal((await fetch(address, { method: "PUT", body: bytes })).status, 400, "no time");
    assert.equal((await fetch(`${address}/5`, { method: "PUT", body: "" })).status, 400, "nothing");
    const host = `http://127.0.0.1:${server.port}`;
    for (const path of ["", `/${ROOT}/7`, `/${ROOT}/x/${KEY}`, `/..%2F..%2Fx/7/${KEY}`, `/${ROOT}/7/${KEY}.kv`])
      assert.equal((await fetch(`${host}${server.base}${path}/`, { method: "PUT", body: bytes })).status, 404, path);
    assert.equal((await fetch(`${host}/${"A".repeat(43)}/${ROOT}/7/${KEY}/5`, { method: "PUT", body: bytes })).status, 404);
    for (const method of ["POST", "DELETE"]) assert.equal((await fetch(`${address}/5`, { method })).status, 405, method);
    assert.deepEqual((await folder.list()).entries, []);
  }));

test("only the page that was named may read and write", () =>
  withServer(async ({ server, address }) => {
    const ask = (origin: string) =>
      fetch(`${address}/5`, { method: "OPTIONS", headers: { origin, "access-control-request-method": "PUT" } });
    assert.equal((await ask(page)).headers.get("access-control-allow-origin"), null);
    server.allowOrigin(page);
    const allowed = await ask(page);
    assert.equal(allowed.headers.get("access-control-allow-origin"), page);
    assert.match(allowed.headers.get("access-control-allow-methods") ?? "", /PUT/);
    assert.equal((await ask("https://elsewhere.example")).headers.get("access-control-allow-origin"), null);
  }));

test("what the disk refuses is said, to the page and in the log", () =>
  withServer(
    async ({ address, warnings }) => {
      const answer = await fetch(`${address}/5`, { method: "PUT", body: bytes });
      assert.equal(answer.status, 507);
      assert.match(await answer.text(), /was not kept/);
      assert.equal(warnings.length, 1);
    },
    { prefixes: "a file, not a folder" },
  ));
