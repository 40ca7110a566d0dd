import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { chooseBackend } from "../../engine/backends/choose.ts";
import { EngineError } from "../../engine/errors.ts";
import { WindowChooser } from "../../engine/generate/window.ts";
import type { RopeChoice } from "../../engine/api.ts";
import { parseAttention } from "../../engine/attention/policy.ts";
import { WHOLE } from "../../engine/attention/wholeOnly.ts";
import { label } from "../../engine/position/limits.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import { tinyModelFiles } from "../support/tinyModel.ts";

/** As much of navigator.gpu as a probe looks at. */
function gpuWith(adapter: { fallback: boolean } | undefined): GPU {
  const info = {
    vendor: "acme",
    architecture: "",
    description: "Acme 1",
    device: "",
    isFallbackAdapter: adapter?.fallback ?? false,
  };
  const found = { info, features: new Set<string>(), limits: {} };
  return { requestAdapter: async () => (adapter ? found : null) } as GPU;
}

describe("the choice of a backend", () => {
  it("takes the GPU where there is a real one, else WASM with the reason and what to do", async () => {
    assert.equal((await chooseBackend("auto", gpuWith({ fallback: false }))).kind, "wgsl");
    const software = await chooseBackend("auto", gpuWith({ fallback: true }));
    assert.equal(software.kind, "ort");
    assert.match(software.because, /software WebGPU adapter \(Acme 1\).*slower than WASM/);
    for (const gpu of [undefined, gpuWith(undefined)]) {
      const none = await chooseBackend("auto", gpu);
      assert.equal(none.kind, "ort");
      assert.match(none.because, /no WebGPU.*--enable-unsafe-webgpu/);
    }
  });

  it("honours an explicit choice or fails", async () => {
    assert.equal((await chooseBackend("wgsl", gpuWith({ fallback: true }))).kind, "wgsl");
    assert.equal((await chooseBackend("ort", gpuWith({ fallback: false }))).kind, "ort");
    assert.equal((await chooseBackend("reference", undefined)).kind, "reference");
    for (const gpu of [undefined, gpuWith(undefined)]) {
      await assert.rejects(
        chooseBackend("wgsl", gpu),
        (error) => EngineError.is(error, "no-adapter") && error.remedy.includes("ort"),
      );
    }
  });
});

describe("the automatic window", () => {
  const flash = (rope: RopeChoice) => ({ rope, attention: WHOLE });

  it("has no ceiling where no token attends farther than the model has seen", async () => {
    const spec = parseSpec(JSON.parse((await tinyModelFiles({ maxPositions: 1024 }).text("config.json")) ?? ""));
    const window = new WindowChooser(spec, () => 1_000_000);
    const under = (text: string) => ({ rope: { kind: "auto" } as const, attention: parseAttention(text) });
    assert.equal(window.windowFor(under("sinks:4,1000"), 500_000), 1_000_000);
    assert.equal(window.resolve(under("sinks:4,1000"), Int32Array.of(1), 500_000).scaling.kind, "none");
    assert.equal(window.windowFor(under("window:1024"), 500_000), 1_000_000);
    const wider = window.resolve(under("sinks:4,1500"), Int32Array.of(1), 500_000);
    assert.deepEqual(
      [wider.limit.tokens, label(wider.scaling)],
      [1_000_000, "YaRN ×2"],
      "scaled as far as it looks, not as far as it reads",
    );
    assert.equal(window.windowFor(under("window:64+top-pages:8"), 500_000), 8192, "decoding looks back to the beginning");
  });

  it("grows with the need up to eight times the trained length, and a person's choice goes further", async () => {
    const spec = parseSpec(JSON.parse((await tinyModelFiles({ maxPositions: 1024 }).text("config.json")) ?? ""));
    const window = new WindowChooser(spec, () => 1_000_000);
    assert.equal(window.windowFor(flash({ kind: "auto" }), 500), 1024);
    assert.equal(window.windowFor(flash({ kind: "auto" }), 3000), 4096);
    assert.equal(window.windowFor(flash({ kind: "auto" }), 500_000), 8192);
    assert.equal(window.windowFor(flash({ kind: "linear", factor: 32 }), 500_000), 32_768);
    const small = new WindowChooser(spec, () => 3000);
    assert.equal(small.windowFor(flash({ kind: "auto" }), 500_000), 3000);
  });

  it("keeps the rotation of a follow-up even where the length alone would not", async () => {
    const spec = parseSpec(JSON.parse((await tinyModelFiles({ maxPositions: 1024 }).text("config.json")) ?? ""));
    const window = new WindowChooser(spec, () => 1_000_000);
    const context = Int32Array.of(1, 2, 3);
    const dynamic = { kind: "dynamic", factor: 4 } as const;
    const first = window.resolve(flash(dynamic), context, 1500);
    assert.equal(window.resolve(flash(dynamic), Int32Array.of(1, 2, 3), 1600).plan.key, first.plan.key);
    assert.notEqual(window.resolve(flash(dynamic), Int32Array.of(9), 1600).plan.key, first.plan.key);
  });
});
