import assert from "node:assert/strict";
import { cp, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { partPath } from "../../../extension/hub/downloadFile.ts";
import { type HubSource, KnownModels } from "../../../extension/models/knownModels.ts";
import { modelOfConfig, ModelReader, readModel } from "../../../extension/models/modelFacts.ts";
import { withTempTree } from "../../support/tempTree.ts";

const specimen = "media/specimens/ask-5m";
const commit = "c".repeat(40);

function reader(storage = "/nowhere"): ModelReader {
  const known = new KnownModels(storage, () => assert.fail());
  return new ModelReader((source) => known.folderOf(source));
}

test("a model's family, context, format and size are read without loading it", () =>
  withTempTree({}, async (folder) => {
    const path = join(folder, "m");
    await cp(specimen, path, { recursive: true });
    const state = await reader().stateOf({ path, source: { kind: "disk" } });
    assert.ok(state.kind === "ready", JSON.stringify(state));
    const { weights, family, contextTokens, diskBytes } = state;
    assert.deepEqual([family, weights.format, weights.parameterCount > 5.2e6], ["lcp_keyshift", "f16", true]);
    assert.equal(
      contextTokens,
      (JSON.parse(await readFile(join(path, "config.json"), "utf8")) as { max_position_embeddings: number })
        .max_position_embeddings,
    );
    assert.ok(diskBytes > 10.5e6 && diskBytes < 11.5e6, `${diskBytes}`);
  }));

test("a model that cannot be opened says why, and which kinds can", () =>
  withTempTree({}, async (folder) => {
    const path = join(folder, "m");
    await cp(specimen, path, { recursive: true });
    const read = async () => reader().stateOf({ path, source: { kind: "disk" } });
    const config = await readFile(join(path, "config.json"), "utf8");
    await writeFile(join(path, "config.json"), config.replace("lcp_keyshift", "gpt2"));
    const unsupported = await read();
    assert.ok(unsupported.kind === "unsupported");
    assert.match(unsupported.problem.message, /gpt2/);
    assert.match(unsupported.problem.remedy, /llama, .*qwen2/);
    await writeFile(join(path, "config.json"), config);
    await writeFile(join(path, "model.safetensors"), "12345678 not weights");
    const damaged = await read();
    assert.ok(damaged.kind === "unsupported");
    assert.match(damaged.problem.message, /model\.safetensors/);
    await rm(join(path, "tokenizer.json"));
    const missing = await read();
    assert.ok(missing.kind === "missing");
    assert.match(missing.problem.message, /no tokenizer\.json/);
    await rm(path, { recursive: true });
    assert.equal((await read()).kind, "missing");
  }));

test("what was read is read again when a file changes, and not before", () =>
  withTempTree({}, async (folder) => {
    const path = join(folder, "m");
    await cp(specimen, path, { recursive: true });
    const one = reader();
    const model = { path, source: { kind: "disk" } } as const;
    const first = await one.stateOf(model);
    assert.equal(await one.stateOf(model), first);
    await writeFile(
      join(path, "config.json"),
      (await readFile(join(path, "config.json"), "utf8")).replace("lcp_keyshift", "gpt2"),
    );
    assert.equal((await one.stateOf(model)).kind, "unsupported");
  }));

test("a download that stopped half-way says how far it came", () =>
  withTempTree({}, async (storage) => {
    const files = [
      { name: "config.json", sizeBytes: 2, checksum: undefined },
      { name: "model.safetensors", sizeBytes: 100, checksum: undefined },
    ];
    const source: HubSource = {
      ...{ kind: "hub", hub: "https://hub.test", repository: "org/name", revision: "main", commit, license: undefined },
      files,
    };
    const known = new KnownModels(storage, () => assert.fail());
    const folder = known.folderOf(source);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "config.json"), "{}");
    const state = () => reader(storage).stateOf({ path: folder, source });
    assert.deepEqual(await state(), { kind: "incomplete", doneBytes: 2, totalBytes: 102 });
    const [, weights] = files;
    assert.ok(weights);
    await writeFile(partPath({ folder, file: weights, commit }), new Uint8Array(30));
    assert.deepEqual(await state(), { kind: "incomplete", doneBytes: 32, totalBytes: 102 });
    await writeFile(join(folder, "model.safetensors"), new Uint8Array(99));
    assert.equal((await state()).kind, "incomplete", "a file of another size is not the one that was listed");
  }));

test("a config.json alone tells what a download would be", async () => {
  const config = JSON.parse(await readFile(join(specimen, "config.json"), "utf8")) as Record<string, unknown>;
  const outlook = modelOfConfig({ ...config, torch_dtype: "float16" });
  const whole = await readModel(specimen);
  assert.equal(outlook.weights.parameterCount, whole.weights.parameterCount);
  assert.equal(outlook.weights.format, "f16");
  assert.equal(modelOfConfig({ ...config, dtype: "float32" }).weights.format, "f32");
  assert.throws(() => modelOfConfig({ model_type: "gpt2" }), /not supported/);
});

test("a GGUF file is read like a folder: family, context and format are its header's", async () => {
  const state = await reader().stateOf({ path: resolve("test/golden/gguf/llama.gguf"), source: { kind: "disk" } });
  assert.ok(state.kind === "ready", JSON.stringify(state));
  assert.deepEqual([state.family, state.weights.format], ["llama", "f32"]);
  assert.ok(state.contextTokens > 0);
  assert.equal(state.diskBytes, (await stat("test/golden/gguf/llama.gguf")).size);
});
