import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { RunnerOptions } from "../../../engine/api.ts";
import { openOrtRunner } from "../../../engine/backends/ort.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { describeRecurrentRunner } from "../../support/recurrentContract.ts";
import { randomConfigs, randomRecurrent } from "../../support/recurrentModels.ts";

const wasmFile = readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm");
const wasm = new Uint8Array(wasmFile).buffer;
const open = (options: RunnerOptions) => openOrtRunner({ ...options, wasm, threads: 1 });

describeRecurrentRunner("the WebAssembly twin", open);

describe("the WebAssembly twin's limits for recurrent models", () => {
  it("refuses weights that WebAssembly cannot hold before it reads them", async () => {
    const spec = parseSpec({ ...randomConfigs.mamba, hidden_size: 8192, num_hidden_layers: 64, vocab_size: 50280 });
    const shapes = tensorShapes(spec);
    const weights: RunnerOptions["weights"] = {
      has: (name) => shapes.has(name),
      shape: (name) => shapes.get(name) ?? [],
      format: () => "f32",
      readBytes: () => assert.fail("no weight may be read"),
      readRows: () => assert.fail("no weight may be read"),
    };
    await assert.rejects(open({ spec, weights, weightFormat: "f32" }), { code: "limit-exceeded" });
  });

  it("names its runtime", async () => {
    const { spec, weights } = randomRecurrent("rwkv7");
    const runner = await open({ spec, weights, weightFormat: "f32" });
    assert.match(runner.device, /^CPU \(onnxruntime-web 1\.\d+\.\d+ WASM, 1 thread\)$/);
    assert.equal(runner.loseDevice(), false);
    runner.dispose();
  });
});
