import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { type KnownModel, KnownModels, type Repair } from "../../../extension/models/knownModels.ts";
import { rejected } from "../../support/hubClient.ts";
import { withTempTree } from "../../support/tempTree.ts";

const commit = "c".repeat(40);

function withList(use: (list: KnownModels, storage: string, repairs: Repair[]) => Promise<void>): Promise<void> {
  return withTempTree({}, async (storage) => {
    const repairs: Repair[] = [];
    await use(new KnownModels(storage, (repair) => repairs.push(repair)), storage, repairs);
  });
}

const onDisk = (path: string): KnownModel => ({ path, source: { kind: "disk" } });

function downloaded(list: KnownModels, name: string, files: readonly string[], path = ""): KnownModel {
  return {
    path: join(list.folderOf({ repository: name, commit }), path),
    source: {
      kind: "hub",
      hub: "https://hub.test",
      repository: name,
      revision: "main",
      commit,
      license: "mit",
      files: files.map((file) => ({ name: file, sizeBytes: 3, checksum: { kind: "sha256", hex: "a".repeat(64) } })),
    },
  };
}

async function store(list: KnownModels, model: KnownModel): Promise<void> {
  await list.add(model);
  if (model.source.kind !== "hub") return;
  const folder = list.folderOf(model.source);
  await mkdir(folder, { recursive: true });
  for (const { name } of model.source.files) await writeFile(join(folder, name), "abc");
}

test("models come back as they were added, in order, in every window", () =>
  withList(async (list, storage, repairs) => {
    assert.deepEqual(await list.all(), []);
    const models = [
      onDisk("/models/a"),
      downloaded(list, "org/b", ["config.json", "model.safetensors"]),
      onDisk("/models/c.gguf"),
    ];
    for (const model of models) await list.add(model);
    await list.add(onDisk("/models/a"));
    assert.deepEqual(await new KnownModels(storage, () => assert.fail()).all(), models);
    await rejected(list.add(onDisk("models/a")), "bad-argument", /not absolute/);
    assert.deepEqual(repairs, []);
    assert.deepEqual(
      (await readdir(storage)).filter((name) => /tmp|lock/.test(name)),
      [],
      "nothing unfinished is left",
    );
  }));

test("two windows that add at once lose nothing", () =>
  withList(async (list, storage) => {
    const other = new KnownModels(storage, () => assert.fail());
    await Promise.all(Array.from({ length: 12 }, (_, index) => (index % 2 ? list : other).add(onDisk(`/models/${index}`))));
    assert.equal((await list.all()).length, 12);
  }));

test("a damaged list is set aside, and what can be saved is kept: whole entries, and all that was downloaded", () =>
  withList(async (list, storage, repairs) => {
    const model = downloaded(list, "org/b", ["config.json"]);
    for (const known of [onDisk("/models/a"), model]) await list.add(known);
    const file = join(storage, "models.json");
    const text = await readFile(file, "utf8");
    await writeFile(file, text.slice(0, 60));
    assert.deepEqual(await list.all(), [model], "the downloaded one is found by what lies beside it");
    const [repair] = repairs;
    assert.ok(repair);
    assert.equal(await readFile(repair.backup, "utf8"), text.slice(0, 60), "nothing of the old list is lost");
    assert.equal(repair.kept, 1);
    assert.deepEqual(await list.all(), [model]);
    assert.equal(repairs.length, 1, "it is told once");

    await writeFile(file, JSON.stringify({ version: 1, models: [onDisk("/models/a"), { path: "x" }, { path: 3, source: {} }] }));
    assert.deepEqual(await list.all(), [onDisk("/models/a"), model]);
    for (const bad of ['{"version":9,"models":[]}', "[]", ""]) {
      await writeFile(file, bad);
      assert.deepEqual(await list.all(), [model], bad);
    }
    assert.equal(repairs.length, 5);
  }));

test("an entry that someone changed by hand cannot point a deletion elsewhere", () =>
  withList(async (list, storage, repairs) => {
    const model = downloaded(list, "org/b", ["config.json"]);
    const change = (source: object): unknown => ({ ...model, source: { ...model.source, ...source } });
    for (const bad of [change({ repository: "../.." }), change({ commit: ".." }), change({ files: [{}] }), change({ hub: 1 })]) {
      await writeFile(join(storage, "models.json"), JSON.stringify({ version: 1, models: [bad] }));
      assert.deepEqual(await list.all(), []);
    }
    assert.equal(repairs.length, 4);
  }));

test("a model of the user's own is forgotten, never deleted", () =>
  withList(async (list, storage) => {
    const own = join(storage, "own");
    await mkdir(own);
    await writeFile(join(own, "config.json"), "{}");
    await list.add(onDisk(own));
    await list.remove(own);
    assert.deepEqual(await list.all(), []);
    assert.ok(existsSync(join(own, "config.json")));
    await list.remove(own);
  }));

test("a downloaded model is deleted with its folder, and what else was in ours stays", () =>
  withList(async (list) => {
    const [a, b] = [downloaded(list, "org/a", ["config.json", "model.safetensors"]), downloaded(list, "org/b", ["config.json"])];
    for (const model of [a, b]) await store(list, model);
    await list.remove(a.path);
    assert.deepEqual(await readdir(list.folder), ["org--b"]);
    assert.deepEqual(await list.all(), [b]);
  }));

test("of two GGUF files of one repository one is deleted, and the other stays", () =>
  withList(async (list) => {
    const small = downloaded(list, "org/a", ["a-Q4_0.gguf"], "a-Q4_0.gguf");
    const large = downloaded(list, "org/a", ["a-Q8_0.gguf"], "a-Q8_0.gguf");
    for (const model of [small, large]) await store(list, model);
    await list.remove(small.path);
    assert.ok(!existsSync(small.path) && existsSync(large.path));
    assert.deepEqual(await list.all(), [large]);
    await list.remove(large.path);
    assert.deepEqual(await readdir(list.folder), []);
  }));
