import assert from "node:assert/strict";
import { connect } from "node:net";
import { rename, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type FileServer, serveFiles } from "../../../extension/models/fileServer.ts";
import { withTempTree } from "../../support/tempTree.ts";

const page = "vscode-webview://one";

function withServer(use: (server: FileServer, base: string, folder: string) => Promise<void>): Promise<void> {
  return withTempTree({ "model.safetensors": "0123456789", "secret.txt": "no" }, async (folder) => {
    const server = await serveFiles(folder, ["model.safetensors"]);
    try {
      await use(server, `http://127.0.0.1:${server.port}`, folder);
    } finally {
      await server.close();
    }
  });
}

const get = (address: string, range: string | undefined, more: Record<string, string> = {}) =>
  fetch(address, { headers: { ...(range === undefined ? {} : { range }), ...more } });

test("ranges of a listed file are answered exactly", () =>
  withServer(async (server, base) => {
    const address = base + server.pathOf("model.safetensors");
    const answer = await get(address, "bytes=3-6");
    assert.equal(answer.status, 206);
    assert.equal(await answer.text(), "3456");
    assert.equal(answer.headers.get("content-range"), "bytes 3-6/10");
    assert.equal(answer.headers.get("cache-control"), "no-store", "weights are not stored a second time");
    assert.equal(await (await get(address, "bytes=0-9")).text(), "0123456789");
  }));

test("anything but one range inside the file is refused", () =>
  withServer(async (server, base) => {
    const address = base + server.pathOf("model.safetensors");
    for (const range of [undefined, "bytes=0-", "bytes=-4", "bytes=5-4", "bytes=0-10", "bytes=0-1,3-4", "items=0-1"])
      assert.equal((await get(address, range)).status, 416, range ?? "no range");
    for (const method of ["HEAD", "POST", "DELETE"]) assert.equal((await fetch(address, { method })).status, 405, method);
  }));

test("who does not know the path gets nothing, and no other file can be named", () =>
  withServer(async (server, base) => {
    const good = server.pathOf("model.safetensors");
    const [, token = ""] = good.split("/");
    assert.ok(token.length >= 43, "at least 256 bits");
    const guesses = [
      "/",
      "/model.safetensors",
      `/${"A".repeat(token.length)}/model.safetensors`,
      `/${token}`,
      `/${token}/secret.txt`,
    ];
    for (const path of [
      ...guesses,
      `/${token}/..%2Fsecret.txt`,
      `/${token}/./model.safetensors`.replace("./", "%2E%2F"),
      `${good}?x`,
    ])
      assert.equal((await get(base + path, "bytes=0-1")).status, 404, path);
    assert.equal(await rawStatus(server.port, `/${token}/../${token}/secret.txt`), 404);
  }));

test("only the page that was named may read the answers", () =>
  withServer(async (server, base) => {
    const address = base + server.pathOf("model.safetensors");
    const allowed = async (origin: string): Promise<string | null> =>
      (await get(address, "bytes=0-1", { origin })).headers.get("access-control-allow-origin");
    assert.equal(await allowed(page), null, "before the page is known");
    server.allowOrigin(page);
    assert.equal(await allowed(page), page);
    assert.equal(await allowed("https://elsewhere.test"), null);
    const asked = { origin: page, "access-control-request-method": "GET", "access-control-request-private-network": "true" };
    const preflight = await fetch(address, { method: "OPTIONS", headers: asked });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get("access-control-allow-headers"), "Range");
    assert.equal(preflight.headers.get("access-control-allow-private-network"), "true");
  }));

test("a file that is gone or became shorter is an error, not wrong bytes", () =>
  withServer(async (server, base, folder) => {
    const address = base + server.pathOf("model.safetensors");
    await rename(join(folder, "model.safetensors"), join(folder, "other"));
    assert.equal((await get(address, "bytes=0-1")).status, 404);
    await rename(join(folder, "other"), join(folder, "model.safetensors"));
    assert.equal((await get(address, "bytes=0-9")).status, 206);
    await truncate(join(folder, "model.safetensors"), 4);
    assert.equal((await get(address, "bytes=0-9")).status, 416);
  }));

test("nothing is open once it is closed, and only this machine could ever reach it", async () => {
  let port = 0;
  await withServer(async (server, base) => {
    port = server.port;
    assert.equal((await get(base + server.pathOf("model.safetensors"), "bytes=0-1")).status, 206);
  });
  await assert.rejects(fetch(`http://127.0.0.1:${port}/`));
});

/** The status of a request whose path is sent as it is: `fetch` would tidy it up. */
function rawStatus(port: number, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n`),
    );
    let text = "";
    socket.on("data", (data) => (text += data.toString()));
    socket.on("end", () => resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1])));
    socket.on("error", reject);
  });
}
