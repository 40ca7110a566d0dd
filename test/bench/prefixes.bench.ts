/**
 * What kept prefixes cost and save: the bundled model reads a prompt on the WASM backend, with its pages kept as it goes; another runner restores
 * them, and both go on to the same logits. Then the way of large pages to the disk: straight, and through the port from a page in Chromium.
 * `npm run bench:prefixes` (LCP_PREFIX_TOKENS for another length than 32,768) prints the figures and writes them to test/bench/results/prefixes.json.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import type { Runner } from "../../engine/api.ts";
import { openOrtRunner } from "../../engine/backends/ort.ts";
import { decodePrefixFile, encodePrefixFile } from "../../engine/kv-cache/prefixFile.ts";
import { openPrefixIndex } from "../../engine/kv-cache/prefixIndex.ts";
import { openPageKeys, prefixRoot } from "../../engine/kv-cache/prefixKey.ts";
import { modelHash } from "../../engine/kv-cache/prefixModel.ts";
import { loadModel } from "../../engine/models/load.ts";
import { resolveRope } from "../../engine/position/choose.ts";
import { openPrefixFolder } from "../../extension/prefixes/prefixFolder.ts";
import { servePrefixes } from "../../extension/prefixes/prefixServer.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { launchBrowser } from "../support/browser.mjs";
import { keepResults } from "./results.ts";

const TOKENS = Number(process.env.LCP_PREFIX_TOKENS ?? 32_768);
const PIECE = 1024;
const PAGE = 256;
const LARGE_PAGES = 12;
const LARGE_BYTES = 32 * 2 ** 20;

const folder = mkdtempSync(join(tmpdir(), "lcp-bench-prefixes-"));
const figures: Record<string, unknown> = {};
after(() => {
  rmSync(folder, { recursive: true, force: true });
  if (Object.keys(figures).length === 4) keepResults("prefixes", "npm run bench:prefixes", figures);
});

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const started = performance.now();
  const value = await work();
  return { ms: performance.now() - started, value };
}

const rounded = (value: number): number => Math.round(value * 10) / 10;
const perSecond = (bytes: number, ms: number): number => Math.round(bytes / 1e6 / (ms / 1000));

it("a prompt that is restored, beside reading it", async () => {
  const files = nodeModelFiles("media/specimens/ask-5m");
  const { spec, weights } = await loadModel(files);
  const wasm = new Uint8Array(readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm")).buffer;
  const ids = Int32Array.from({ length: TOKENS + 5 }, (_, index) => 300 + ((index * 7919) % 3000));
  const { plan } = resolveRope({ kind: "linear", factor: 32 }, spec, ids.length, 2 ** 20);
  const open = async (): Promise<Runner> => {
    const runner = await openOrtRunner({ spec, weights, weightFormat: "f32", wasm, threads: 1 });
    runner.setPositions(plan);
    return runner;
  };
  const first = await open();
  const { pages } = first;
  assert.ok(pages);
  const hashed = await timed(() => modelHash(spec, weights));
  const kv = { keys: "f32", values: "f32" } as const;
  const root = await prefixRoot({
    ...{ model: hashed.value, backend: "ort", weightFormat: "f32", products: "exact", positions: plan.key, kv },
    ...{ attention: { policy: { kind: "flash" } }, layout: pages.layout, tokensPerPage: PAGE },
  });
  const store = openPrefixFolder(join(folder, "specimen"), () => 2 ** 40);
  const index = await openPrefixIndex(store);
  const keys = openPageKeys(root, ids, PAGE, Date.now());
  let saveMs = 0;
  const prefill = await timed(async () => {
    for (let begin = 0; begin < TOKENS; begin += PIECE) {
      await first.append(ids.subarray(begin, begin + PIECE), { moreFollows: true });
      const saved = await timed(() => index.save(keys, pages, { from: begin / PAGE, to: (begin + PIECE) / PAGE }));
      saveMs += saved.ms;
    }
  });
  const settled = await timed(() => index.settled());
  const expected = await first.append(ids.subarray(TOKENS), { logits: "all" });
  const megabytes = rounded((pages.bytesPerPage * TOKENS) / PAGE / 1e6);
  first.dispose();

  const second = await open();
  const restore = await timed(async () => {
    const fresh = await openPrefixIndex(store);
    const again = openPageKeys(root, ids, PAGE, Date.now());
    assert.ok(second.pages);
    const to = await fresh.lookup(again, second.pages, TOKENS / PAGE);
    assert.equal(to, TOKENS / PAGE);
    await fresh.restore(again, second.pages, { from: 0, to });
  });
  assert.equal(second.length, TOKENS);
  const found = await second.append(ids.subarray(TOKENS), { logits: "all" });
  // Both sum the same numbers in chunks of the same size.
  assert.deepEqual(found, expected);
  second.dispose();
  await files.close();
  const share = restore.ms / (prefill.ms - saveMs);
  figures["specimen"] = {
    ...{ tokens: TOKENS, megabytes, modelHashMs: rounded(hashed.ms) },
    ...{ prefillMs: Math.round(prefill.ms - saveMs), saveMs: rounded(saveMs), settleMs: rounded(settled.ms) },
    ...{ restoreMs: rounded(restore.ms), restoreShareOfPrefill: Number(share.toFixed(5)) },
  };
  say(JSON.stringify(figures["specimen"]));
  assert.ok(share < 0.1, "a restore takes less than a tenth of reading");
});

it("keys of a million tokens", async () => {
  const root = await prefixRoot({
    ...{ model: "m", backend: "ort", weightFormat: "f32", products: "exact", positions: "p", kv: undefined },
    ...{ attention: undefined, layout: "l", tokensPerPage: PAGE },
  });
  const ids = Int32Array.from({ length: 2 ** 20 }, (_, index) => index);
  const keys = openPageKeys(root, ids, PAGE, 0);
  const { ms } = await timed(() => keys.at(keys.pages - 1));
  figures["millionTokenKeysMs"] = rounded(ms);
  say(`keys of ${ids.length} tokens: ${rounded(ms)} ms`);
});

const names = Array.from({ length: LARGE_PAGES }, (_, page) => ({
  root: "0".repeat(32),
  page,
  key: String(page).padStart(32, "0"),
}));

it("large pages, straight to the disk and back", async () => {
  const store = openPrefixFolder(join(folder, "large"), () => 2 ** 40);
  const payload = new Uint8Array(LARGE_BYTES);
  for (let at = 0; at < LARGE_BYTES; at += 2 ** 20) payload.set(randomBytes(2 ** 20), at);
  const bytes = LARGE_PAGES * LARGE_BYTES;
  const write = await timed(() =>
    Promise.all(names.map(async (name) => store.write(name, await encodePrefixFile(name, payload), 1))),
  );
  const read = await timed(() =>
    Promise.all(
      names.map(async (name) => {
        const file = await store.read(name);
        assert.ok(file && (await decodePrefixFile(file, name, LARGE_BYTES)));
      }),
    ),
  );
  figures["disk"] = { megabytes: rounded(bytes / 1e6), writeMBs: perSecond(bytes, write.ms), readMBs: perSecond(bytes, read.ms) };
  say(JSON.stringify(figures["disk"]));
});

it("the same through the port, from a page", async () => {
  const store = openPrefixFolder(join(folder, "port"), () => 2 ** 40);
  const server = await servePrefixes(store, say);
  const browser = await launchBrowser();
  // A page of another address, as the panel's is: it asks before it writes.
  const site = createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<p>a page</p>"));
  try {
    const origin = await new Promise<string>((resolve) => {
      site.listen(0, "127.0.0.1", () => {
        const address = site.address();
        resolve(typeof address === "object" && address !== null ? `http://127.0.0.1:${address.port}` : "");
      });
    });
    server.allowOrigin(origin);
    const page = await browser.newPage();
    await page.goto(origin);
    const base = `http://127.0.0.1:${server.port}${server.base}`;
    const paths = names.map(({ root, page: number, key }) => `${base}/${root}/${number}/${key}`);
    const ms = await page.evaluate(
      async ({ addresses, length }) => {
        const body = new Blob([new Uint8Array(length).map((_, index) => index)]);
        const measure = async (work: () => Promise<unknown>): Promise<number> => {
          const started = performance.now();
          await work();
          return performance.now() - started;
        };
        const inFlight = async (one: (address: string) => Promise<void>): Promise<void> => {
          const left = [...addresses];
          const next = async (): Promise<void> => {
            for (let address = left.shift(); address !== undefined; address = left.shift()) await one(address);
          };
          await Promise.all([next(), next()]);
        };
        const write = await measure(() =>
          inFlight(async (address) => {
            const { status } = await fetch(`${address}/5`, { method: "PUT", body });
            if (status !== 204) throw new Error(`${status}`);
          }),
        );
        const read = await measure(() =>
          inFlight(async (address) => {
            const bytes = await (await fetch(address)).arrayBuffer();
            if (bytes.byteLength !== length) throw new Error(`${bytes.byteLength} bytes`);
          }),
        );
        return { write, read };
      },
      { addresses: paths, length: LARGE_BYTES },
    );
    const bytes = LARGE_PAGES * LARGE_BYTES;
    assert.equal((await store.list()).entries.length, LARGE_PAGES);
    figures["port"] = {
      megabytes: rounded(bytes / 1e6),
      writeMBs: perSecond(bytes, ms.write),
      readMBs: perSecond(bytes, ms.read),
    };
    say(JSON.stringify(figures["port"]));
  } finally {
    await browser.close();
    site.close();
    await server.close();
  }
});
