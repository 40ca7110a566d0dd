import assert from "node:assert/strict";
import { cp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { AskResult } from "../../../engine/generate/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { readSnapshotFile } from "../../../extension/corpus/snapshotFile.ts";
import { modelLabel, readModelFolder } from "../../../extension/models/location.ts";
import { nodeModelFiles } from "../../../extension/models/nodeFiles.ts";
import { panelHtml } from "../../../extension/panel/html.ts";
import { keptRuns, RunStore } from "../../../extension/panel/runs.ts";
import { contentHash } from "../../../extension/server/contentHash.ts";
import type { SavedRun } from "../../../webview/protocol/panel.ts";
import { withTempTree } from "../../support/tempTree.ts";

const uris = {
  cspSource: "https://host.test",
  script: "https://host.test/dist/panel.js",
  worker: 'https://host.test/w?a=1&b="2"',
  ortWasm: "https://host.test/o.wasm",
  ports: [],
};

test("the page runs one script under a nonce that is new each time, and nothing from elsewhere", () => {
  const html = panelHtml(uris);
  const csp = /http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(html)?.[1] ?? "";
  const nonce = /<script nonce="([^"]+)"/.exec(html)?.[1] ?? "";
  assert.match(nonce, /^[\w-]{24}$/);
  assert.notEqual(/<script nonce="([^"]+)"/.exec(panelHtml(uris))?.[1], nonce);
  assert.deepEqual(csp.split("; ").sort(), [
    "connect-src https://host.test blob:",
    "default-src 'none'",
    "font-src https://host.test",
    "img-src https://host.test data: blob:",
    `script-src 'nonce-${nonce}' 'wasm-unsafe-eval' blob:`,
    "style-src https://host.test 'unsafe-inline'",
    "worker-src blob:",
  ]);
  assert.equal(html.match(/<script/g)?.length, 1);
  assert.ok(html.includes('data-worker="https://host.test/w?a=1&amp;b=&quot;2&quot;"'));
  assert.ok(html.includes('data-ort-wasm="https://host.test/o.wasm"'));
});

test("the page may connect to the ports that were opened for it, and to no other", () => {
  const html = panelHtml({ ...uris, ports: ["http://127.0.0.1:4567/", "http://127.0.0.1:4568/"] });
  assert.match(html, /connect-src https:\/\/host\.test blob: http:\/\/127\.0\.0\.1:4567\/ http:\/\/127\.0\.0\.1:4568\/;/);
});

function run(index: number): SavedRun {
  const packed = [
    { path: "a.ts", hash: "h", tokenStart: 0, tokenEnd: 9, bodyStart: 2, lineTokens: new Uint32Array([2, 70_000, index]) },
  ];
  const result: AskResult = {
    question: `q${index}`,
    answer: "a",
    absent: false,
    stoppedBy: "end",
    citations: [],
    lookedAt: [],
    prose: "",
    attended: [],
    promptTokens: 9,
    reusedTokens: 0,
    restoredTokens: 0,
    attentionFrom: 0,
    answerTokens: 1,
    answerStart: 9,
    backend: "reference",
    backendBecause: "asked for",
    device: "loops",
    rope: { kind: "none" },
    attention: { policy: { kind: "sinks", sinks: 4, window: 256 }, topPages: 8 },
    kv: { keys: "q8", values: "f16" },
    keptMass: { mean: 0.9, least: 0.5, queries: 8, heads: 4 },
    cacheError: { keys: 0.01, values: 0.001 },
    limit: { tokens: 10, because: "trained length", explanation: "", wouldBe: 10 },
    rows: [],
    packed,
    timings: { packMs: 0, prefillMs: 0, decodeMs: 0 },
  };
  const settings: SavedRun["settings"] = {
    ...{ model: "tiny", weightFormat: "q8_0", products: "exact", quote: "free", maxAnswerTokens: 64 },
    sampling: { temperature: 0.5, topP: 0.9, seed: 3 },
  };
  // Runs of older versions have no settings and no conversation.
  const kept = index % 2 === 0 ? { settings, earlier: ["run 1/.."] } : {};
  return { id: `run ${index}/..`, ...kept, askedAt: new Date(Date.UTC(2026, 0, 1) + index * 1000).toISOString(), result };
}

test("runs come back whole, newest first, at most fifty, and a broken file does not hide the others", () =>
  withTempTree({}, async (folder) => {
    const warnings: string[] = [];
    const store = new RunStore(join(folder, "runs"), (message) => warnings.push(message));
    assert.deepEqual(await store.list(), []);
    for (let index = 0; index < keptRuns + 3; index++) await store.save(run(index));
    await store.save(run(20));
    const runs = await store.list();
    assert.equal(runs.length, keptRuns);
    assert.deepEqual(runs[0], run(keptRuns + 2));
    assert.deepEqual(runs.at(-1), run(3));
    const [newest] = (await readdir(join(folder, "runs"))).sort().reverse();
    await writeFile(join(folder, "runs", newest ?? ""), "{ half");
    assert.equal((await store.list()).length, keptRuns - 1);
    assert.equal(warnings.length, 1);
    await assert.rejects(store.save({ ...run(1), askedAt: "yesterday" }), (error) => EngineError.is(error, "bad-argument"));
  }));

test("one saved run is deleted and the others stay", () =>
  withTempTree({}, async (folder) => {
    const store = new RunStore(join(folder, "runs"), (message) => assert.fail(message));
    for (const index of [1, 2, 3]) await store.save(run(index));
    assert.equal(await store.delete(run(2).id), true);
    assert.deepEqual(await store.list(), [run(3), run(1)]);
    assert.equal(await store.delete(run(2).id), false);
  }));

test("a snapshot file is its hashed bytes or an error, and links do not lead out of the workspace", () =>
  withTempTree({ "w/a.ts": "one", "secret.txt": "no" }, async (folder) => {
    const roots = [{ folder: join(folder, "w"), prefix: "" }];
    const hash = contentHash(new TextEncoder().encode("one"));
    assert.equal(new TextDecoder().decode(await readSnapshotFile(roots, "a.ts", hash)), "one");
    const refused = async (path: string): Promise<void> => {
      await assert.rejects(
        readSnapshotFile(roots, path, hash),
        (error) => EngineError.is(error, "not-found") && error.remedy !== "",
        path,
      );
    };
    await writeFile(join(folder, "w", "a.ts"), "two");
    await symlink(join(folder, "secret.txt"), join(folder, "w", "link.txt"));
    for (const path of ["a.ts", "gone.ts", "link.txt", "../secret.txt", join(folder, "secret.txt")]) await refused(path);
  }));

test("a model folder is checked before anything is loaded from it", () =>
  withTempTree(
    {
      ...{ "ok/config.json": "{}", "ok/tokenizer.json": "{}", "ok/model.safetensors": "12345678", "half/config.json": "{}" },
      ...{ "onnx/config.json": "{}", "onnx/tokenizer.json": "{}", "onnx/model.onnx": "1", "onnx/model.onnx.data": "22" },
    },
    async (folder) => {
      const { label, files, ggufName } = await readModelFolder(join(folder, "ok"));
      assert.deepEqual([label, ggufName], ["ok", undefined]);
      assert.deepEqual(files, [
        { name: "config.json", sizeBytes: 2 },
        { name: "model.safetensors", sizeBytes: 8 },
        { name: "tokenizer.json", sizeBytes: 2 },
      ]);
      const rejects = (path: string, code: "bad-argument" | "no-such-folder" | "weights-missing", message: RegExp) =>
        assert.rejects(
          readModelFolder(path),
          (error) => EngineError.is(error, code) && message.test(error.message) && error.remedy !== "",
        );
      await rejects("ok", "bad-argument", /not absolute/);
      await rejects(join(folder, "none"), "no-such-folder", /does not exist/);
      await rejects(join(folder, "ok", "config.json"), "no-such-folder", /is a file, and no GGUF file/);
      assert.equal((await readModelFolder(join(folder, "onnx"))).files.length, 4);
      await rejects(join(folder, "half"), "weights-missing", /no tokenizer\.json, no \*\.safetensors/);
    },
  ));

const ggufTree = {
  ...{ "one/m.gguf": "GGUF", "two/a.gguf": "1", "two/b.gguf": "2", "org--name/c0ffee/x.gguf": "" },
  ...{ "cut-source/m-00001-of-00002.gguf": "1", "cut-source/m-00002-of-00002.gguf": "22" },
};

test("a GGUF file is a model, and so is a folder that holds just one", () =>
  withTempTree({ ...ggufTree }, async (folder) => {
    const file = join(folder, "one", "m.gguf");
    const expected = {
      path: file,
      folder: join(folder, "one"),
      label: "m.gguf",
      ggufName: "m.gguf",
      files: [{ name: "m.gguf", sizeBytes: 4 }],
    };
    assert.deepEqual(await readModelFolder(file), expected);
    assert.deepEqual(await readModelFolder(join(folder, "one")), expected);
    await assert.rejects(
      readModelFolder(join(folder, "two")),
      (error) => EngineError.is(error, "bad-argument") && /a\.gguf, b\.gguf/.test(error.remedy),
    );
    const [first, second] = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"].map((name) => join(folder, "cut", name));
    await cp(join(folder, "cut-source"), join(folder, "cut"), { recursive: true });
    assert.deepEqual((await readModelFolder(join(folder, "cut"))).path, first);
    assert.deepEqual(
      (await readModelFolder(first ?? "")).files.map(({ sizeBytes }) => sizeBytes),
      [1, 2],
    );
    await assert.rejects(
      readModelFolder(second ?? ""),
      (error) => EngineError.is(error, "bad-argument") && /00001-of-00002/.test(error.remedy),
    );
    await rm(second ?? "");
    await assert.rejects(readModelFolder(first ?? ""), (error) => EngineError.is(error, "weights-missing"));
    assert.equal(nodeModelFiles(file).ggufName, "m.gguf");
    assert.equal(nodeModelFiles(folder).ggufName, undefined);
    assert.equal(modelLabel(join(folder, "org--name", "c0ffee")), "org/name", "one that was downloaded is called as on the hub");
    assert.equal(modelLabel(join(folder, "one")), "one");
  }));

test("model files are read by range, an absent one is undefined and a short one an error", () =>
  withTempTree({ "model.safetensors": "0123456789" }, async (folder) => {
    const files = nodeModelFiles(folder);
    assert.equal(await files.text("config.json"), undefined);
    assert.equal(await files.open("other.safetensors"), undefined);
    const source = await files.open("model.safetensors");
    assert.ok(source);
    assert.equal(source.size, 10);
    assert.equal(new TextDecoder().decode(await source.read(3, 4)), "3456");
    await assert.rejects(source.read(8, 4), (error) => EngineError.is(error, "bad-weights"));
    await files.close();
  }));
