/** The WebAssembly twin where webviews run it: a module worker from a blob URL, a strict policy, no SharedArrayBuffer, no network of its own. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { build } from "esbuild";
import { goldenModel } from "../support/goldenModels.ts";
import { launchBrowser } from "../support/browser.mjs";

/** Bundled as build.mjs bundles webview/worker.ts. */
const workerSource = `
  import { openOrtRunner } from "./engine/backends/ort.ts";
  self.onmessage = async ({ data: { wasm, spec, tensors, inputIds } }) => {
    const weights = {
      has: (name) => name in tensors,
      shape: (name) => tensors[name].shape,
      format: () => "f32",
      readRows: async (name) => Float32Array.from(tensors[name].values),
    };
    try {
      const runner = await openOrtRunner({ spec, weights, weightFormat: "f32", wasm, threads: 1 });
      const logits = await runner.append(inputIds, { logits: "last" });
      self.postMessage({ logits: Array.from(logits), device: runner.device, shared: typeof SharedArrayBuffer });
    } catch (error) {
      self.postMessage({ error: String(error) });
    }
  };`;

const pageSource = `<script nonce="n0nce">
  window.answer = (async () => {
    const [code, wasm, model] = await Promise.all([
      fetch("worker.js").then((reply) => reply.text()),
      fetch("ort.wasm").then((reply) => reply.arrayBuffer()),
      fetch("model.json").then((reply) => reply.json()),
    ]);
    const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
    return new Promise((resolve, reject) => {
      worker.onmessage = (event) => resolve(event.data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ ...model, wasm }, [wasm]);
    });
  })();
</script>`;

interface Answer {
  logits: number[];
  device: string;
  shared: string;
  error?: string;
}

describe("the WebAssembly twin in a blob worker", () => {
  const { spec, weights, tensors, inputIds, golden, tolerance } = goldenModel("llama_llama3rope");
  const asked: string[] = [];
  let server: Server;
  let address: string;

  before(async () => {
    const bundled = await build({
      stdin: { contents: workerSource, resolveDir: process.cwd(), loader: "js" },
      bundle: true,
      write: false,
      format: "esm",
      platform: "browser",
      target: "chrome128",
      minify: true,
      alias: { "onnxruntime-web": "onnxruntime-web/wasm" },
    });
    const plainTensors: Record<string, { shape: readonly number[]; values: number[] }> = {};
    for (const [name, values] of tensors) plainTensors[name] = { shape: weights.shape(name), values: [...values] };
    const files: Record<string, [type: string, body: string | Uint8Array]> = {
      "/": ["text/html", pageSource],
      "/worker.js": ["text/javascript", bundled.outputFiles[0].text],
      "/ort.wasm": ["application/wasm", readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm")],
      "/model.json": ["application/json", JSON.stringify({ spec, inputIds, tensors: plainTensors })],
    };
    server = createServer((request, response) => {
      const path = request.url ?? "";
      asked.push(path);
      const [type, body] = files[path] ?? ["text/plain", ""];
      response.writeHead(path in files ? 200 : 404, {
        "content-type": type,
        "content-security-policy":
          `default-src 'none'; script-src 'nonce-n0nce' 'wasm-unsafe-eval' ${address} blob:; ` +
          `worker-src blob:; connect-src ${address} blob:`,
      });
      response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => server.close());

  it("answers with the golden logits and asks the network for nothing", async () => {
    const browser = await launchBrowser();
    try {
      const page = await browser.newPage();
      await page.goto(address);
      const answer = await page.evaluate(() => (window as Window & { answer?: Promise<Answer> }).answer);
      assert.ok(answer);
      assert.equal(answer.error, undefined);
      assert.equal(answer.shared, "undefined", "the page must be as poor as a webview");
      assert.match(answer.device, /WASM, 1 thread/);
      const worst = Math.max(...golden.logits_last.map((expected, index) => Math.abs(answer.logits[index] - expected)));
      assert.ok(worst <= tolerance.float32, `the largest difference is ${worst}`);
      assert.deepEqual([...new Set(asked)].sort(), ["/", "/model.json", "/ort.wasm", "/worker.js"]);
    } finally {
      await browser.close();
    }
  });
});
