import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { HubSource } from "../../../extension/models/knownModels.ts";
import {
  type ModelRow,
  progressText,
  rowContext,
  rowDescription,
  rowFacts,
  rowIcon,
  rowSentence,
  rowTooltip,
} from "../../../extension/models/modelWords.ts";
import { modelsViewId } from "../../../extension/models/viewId.ts";
import { parseSpec } from "../../../engine/models/spec.ts";

const spec = parseSpec({
  ...{ model_type: "llama", vocab_size: 100, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2 },
  ...{ num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 131_072, rms_norm_eps: 1e-5 },
});
const bytes = { file: 1, f32: 4, q8_0: 1, q4_0: 1 };
const ready: ModelRow["state"] = {
  kind: "ready",
  diskBytes: 2_470_000_000,
  spec,
  weights: { parameterCount: 1_235_814_400, format: "bf16", bytes },
  family: "llama",
  contextTokens: 131_072,
};
const source: HubSource = {
  kind: "hub",
  hub: "https://hub.test",
  repository: "org/name",
  revision: "main",
  commit: "c".repeat(40),
  license: "mit",
  files: [],
};
const row = (change: Partial<ModelRow> = {}): ModelRow => ({
  path: "/models/org--name/c",
  label: "org/name",
  origin: "hub",
  source,
  state: ready,
  chosen: false,
  engine: undefined,
  ...change,
});
const engine = { status: "ready", device: "Apple M3 (WebGPU)", weightFormat: "q8_0", message: "" } as const;
const problem = { message: 'model type "gpt2" is not supported', remedy: "choose a model of type llama" };
const progress = { file: "model.safetensors", doneBytes: 1_500_000, totalBytes: 6_000_000, bytesPerSecond: 3_000_000 };

test("a row says whether it is loaded, family, context, format, size and origin", () => {
  assert.equal(rowDescription(row()), "llama · 131K context · bf16 · 2.47 GB · downloaded");
  assert.equal(rowDescription(row({ chosen: true })), "in use · llama · 131K context · bf16 · 2.47 GB · downloaded");
  assert.match(rowDescription(row({ chosen: true, engine })), /^loaded · llama/);
  assert.match(rowDescription(row({ chosen: true, engine: { ...engine, status: "starting" } })), /^loading · /);
  assert.match(rowDescription(row({ chosen: true, engine: { ...engine, status: "failed" } })), /^not opened · /);
  assert.match(rowDescription(row({ origin: "disk", source: undefined })), /from disk$/);
  assert.match(rowDescription(row({ origin: "bundled", source: undefined })), /bundled$/);
});

test("a row that cannot be used says why", () => {
  assert.equal(rowDescription(row({ state: { kind: "missing", problem } })), "not there · downloaded");
  assert.equal(
    rowDescription(row({ state: { kind: "unsupported", diskBytes: 1000, problem } })),
    "cannot be opened · 1 kB · downloaded",
  );
  assert.equal(
    rowDescription(row({ state: { kind: "incomplete", doneBytes: 1_500_000, totalBytes: 6_000_000 } })),
    "stopped at 1.5 MB of 6 MB · downloaded",
  );
  assert.equal(rowDescription(row({ state: { kind: "downloading", progress } })), "downloading 25 % · downloaded");
  assert.equal(rowDescription(row({ state: { kind: "downloading", progress: undefined } })), "downloading · downloaded");
  const tooltip = rowTooltip(row({ state: { kind: "unsupported", diskBytes: 1, problem } }));
  assert.match(tooltip, /^Cannot be opened: model type "gpt2" is not supported\nTo do: choose a model of type llama$/m);
});

test("a screen reader hears a sentence", () => {
  assert.equal(
    rowSentence(row({ chosen: true, engine })),
    "org/name, model, loaded, family llama, trained on 131,072 tokens, weights stored as bf16, 2.47 GB on disk, downloaded from https://hub.test/org/name",
  );
  assert.match(rowSentence(row()), /^org\/name, model, not loaded, /);
  assert.match(rowSentence(row({ state: { kind: "missing", problem } })), /not there: model type/);
  assert.match(rowSentence(row({ state: { kind: "downloading", progress } })), /downloading, 25 percent/);
  assert.match(rowSentence(row({ origin: "disk", source: undefined })), /read where it lies$/);
});

test("the tooltip has every fact, with licence, commit and what the engine did with it", () => {
  const tooltip = rowTooltip(row({ chosen: true, engine }));
  for (const part of [
    "/models/org--name/c",
    "1,235,814,400 parameters",
    "131,072 tokens",
    "Licence: mit",
    "commit cccccccccccc",
    "Apple M3",
  ])
    assert.ok(tooltip.includes(part), part);
  const failed = rowTooltip(row({ chosen: true, engine: { ...engine, status: "failed", message: "no memory" } }));
  assert.match(failed, /^Not opened: no memory$/m);
});

test("every fact is a row of its own, what is wrong and what to do about it first", () => {
  const names = (change: Partial<ModelRow>): string[] => rowFacts(row(change)).map(({ name }) => name);
  const source = ["Source", "Licence", "Revision", "Path"];
  assert.deepEqual(names({}), ["Family", "Context", "Weights", "Size on disk", ...source]);
  assert.deepEqual(names({ chosen: true, engine }).slice(0, 2), ["Loaded on", "Family"]);
  assert.deepEqual(names({ state: { kind: "missing", problem } }), ["Not there", "To do", ...source]);
  assert.deepEqual(names({ state: { kind: "incomplete", doneBytes: 0, totalBytes: 1 } }).slice(0, 2), ["Downloaded", "To do"]);
  assert.deepEqual(names({ state: { kind: "downloading", progress } })[0], "Downloading");
  assert.deepEqual(names({ origin: "disk", source: undefined }).slice(-2), ["Source", "Path"]);
});

test("progress has bytes, speed and time left", () => {
  assert.equal(progressText(progress), "model.safetensors: 1.5 MB of 6 MB · 3 MB/s · 2 s left");
  assert.equal(progressText({ ...progress, bytesPerSecond: 0 }), "model.safetensors: 1.5 MB of 6 MB");
});

test("every state has an icon", () => {
  const icons = [
    rowIcon(row()),
    rowIcon(row({ chosen: true })),
    rowIcon(row({ chosen: true, engine })),
    rowIcon(row({ chosen: true, engine: { ...engine, status: "failed" } })),
    rowIcon(row({ state: { kind: "missing", problem } })),
    rowIcon(row({ state: { kind: "incomplete", doneBytes: 0, totalBytes: 1 } })),
    rowIcon(row({ state: { kind: "downloading", progress } })),
  ];
  assert.equal(new Set(icons).size, icons.length);
});

test("the menu of a row offers what can be done with it, and nothing else", () => {
  const manifest = JSON.parse(readFileSync("package.json", "utf8")) as {
    contributes: { menus: Record<string, { command: string; when: string; group: string }[]> };
  };
  const entries = (manifest.contributes.menus["view/item/context"] ?? []).filter(({ when }) => when.includes(modelsViewId));
  const offered = (change: Partial<ModelRow>): string[] =>
    entries
      .filter(({ when, group }) => {
        const [, pattern = ""] = /viewItem =~ \/(.+)\/$/.exec(when) ?? [];
        assert.notEqual(pattern, "", when);
        return !group.startsWith("inline") && new RegExp(pattern).test(rowContext(row(change)));
      })
      .map(({ command }) => command.replace("longContext.", ""));
  assert.deepEqual(offered({}), ["useModel", "preflightModel", "revealModel", "copyModelPath", "removeModel"]);
  assert.deepEqual(offered({ chosen: true }), ["preflightModel", "revealModel", "copyModelPath", "removeModel"]);
  assert.deepEqual(offered({ origin: "bundled" }), ["useModel", "preflightModel", "revealModel", "copyModelPath"]);
  const incomplete: ModelRow["state"] = { kind: "incomplete", doneBytes: 0, totalBytes: 1 };
  assert.deepEqual(offered({ state: incomplete }), ["resumeDownload", "revealModel", "copyModelPath", "removeModel"]);
  assert.deepEqual(offered({ state: { kind: "downloading", progress } }), [
    "stopDownload",
    "revealModel",
    "copyModelPath",
    "removeModel",
  ]);
  assert.deepEqual(offered({ origin: "disk", state: { kind: "missing", problem } }), ["copyModelPath", "removeModel"]);
  assert.deepEqual(offered({ state: { kind: "unsupported", diskBytes: 1, problem } }), [
    "revealModel",
    "copyModelPath",
    "removeModel",
  ]);
});
