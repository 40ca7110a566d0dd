/** A ring in the panel's conditions: the engine's worker from a blob address, its ranks as workers of that worker, under a strict policy. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { build } from "esbuild";
import type { AskResult } from "../../engine/generate/api.ts";
import type { PlainError } from "../../engine/errors.ts";
import { launchBrowser } from "../support/browser.mjs";

const specimen = "media/specimens/ask-5m";
const corpus = "test/fixtures/workspaces/ferry/src";
const sources = readdirSync(corpus).filter((name) => name.endsWith(".ts"));

/** The page's end: what webview/engine.ts does, with files of this test. */
const pageScript = `
  import { openChannel } from "./webview/protocol/channel.ts";
  import { startWorker } from "./webview/startWorker.ts";
  import { plainError } from "./engine/errors.ts";

  const bytesOf = async (path) => (await fetch(path)).arrayBuffer();
  window.askAll = async ({ modelFiles, files, attentions }) => {
    const model = new Map(await Promise.all(modelFiles.map(async (name) => [name, await bytesOf("/model/" + name)])));
    const worker = await startWorker("/worker.js");
    const channel = openChannel(worker.port, {
      "file/read": async ({ path }) => ({ bytes: await bytesOf("/corpus/" + path) }),
      "model/read": async ({ name, offset, length }) => ({ bytes: model.get(name).slice(offset, offset + length) }),
      "ort/assets": async () => ({ wasm: new ArrayBuffer(0) }),
      "prefix/list": async () => ({ capBytes: 0, pages: [] }),
    }, { name: "panel", transferResults: true });
    try {
      await channel.call("engine/open", {
        label: "specimen",
        files: modelFiles.map((name) => ({ name, sizeBytes: model.get(name).byteLength, pieceBytes: 1 << 20 })),
        backend: "wgsl",
        weightFormat: "file",
        products: "exact",
        kv: { keys: "f32", values: "f32" },
      });
      const results = [];
      for (const policy of attentions) {
        results.push(await channel.call("engine/ask", {
          runId: JSON.stringify(policy),
          question: "Where is the ceiling of the backoff?",
          files,
          history: [],
          options: {
            rope: { kind: "model" },
            attention: { policy },
            sampling: { temperature: 0, topP: 1, seed: 0 },
            quote: "free",
            maxAnswerTokens: 4,
          },
        }));
      }
      return { results };
    } catch (error) {
      return { error: plainError(error) };
    } finally {
      worker.stop();
    }
  };`;

interface Outcome {
  results?: AskResult[];
  error?: PlainError;
}
type PageWindow = Window & { askAll?(given: unknown): Promise<Outcome> };

describe("ring in the panel", () => {
  let server: Server;
  let address: string;

  before(async () => {
    const options = { bundle: true, write: false, platform: "browser", target: "chrome128" } as const;
    const script = await build({
      ...options,
      stdin: { contents: pageScript, resolveDir: process.cwd(), loader: "ts" },
      format: "iife",
    });
    const page = `<script nonce="n0nce">${script.outputFiles[0].text}</script>`;
    server = createServer((request, response) => {
      const path = request.url ?? "/";
      const [, folder, name = ""] = path.split("/");
      const body =
        path === "/"
          ? page
          : path === "/worker.js"
            ? readFileSync("dist/worker.js")
            : readFileSync(join(folder === "model" ? specimen : corpus, name));
      response.writeHead(200, {
        "content-type": path === "/" ? "text/html" : "application/octet-stream",
        "content-security-policy":
          `default-src 'none'; script-src 'nonce-n0nce' 'wasm-unsafe-eval' blob:; ` +
          `worker-src blob:; connect-src ${address} blob:`,
      });
      response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => server.close());

  it("answers as one worker does, and reports its ranks", { timeout: 600_000 }, async () => {
    const browser = await launchBrowser();
    try {
      const page = await browser.newPage();
      await page.goto(address);
      const given = {
        modelFiles: readdirSync(specimen).filter((name) => !name.endsWith(".md")),
        files: sources.map((name) => ({ path: name, hash: name, sizeBytes: statSync(join(corpus, name)).size })),
        attentions: [{ kind: "flash" }, { kind: "ring", ranks: 2, layout: "zigzag" }],
      };
      const { results = [], error } = await page.evaluate(
        (wanted) => (window as PageWindow).askAll?.(wanted) ?? Promise.resolve<Outcome>({}),
        given,
      );
      assert.equal(error, undefined);
      const [alone, ringed] = results;
      assert.equal(ringed.answer, alone.answer);
      assert.equal(alone.ring, undefined);
      assert.deepEqual([ringed.ring?.ranks, ringed.ring?.tokens, ringed.reusedTokens], [2, ringed.promptTokens, 0]);
      assert(ringed.ring?.steps.every(({ computeMs, pairs }) => computeMs > 0 && pairs > 0));
      assert.deepEqual(
        ringed.lookedAt.map(({ path }) => path),
        alone.lookedAt.map(({ path }) => path),
      );
    } finally {
      await browser.close();
    }
  });
});
