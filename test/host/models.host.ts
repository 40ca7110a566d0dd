import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import { commandIds } from "../../extension/commandIds.ts";
import type { KnownModel } from "../../extension/models/knownModels.ts";
import type { ModelRow } from "../../extension/models/modelWords.ts";
import { rowDescription, rowSentence } from "../../extension/models/modelWords.ts";
import { settingIds } from "../../extension/settings.ts";
import { stateWhere } from "../support/extensionState.ts";
import { filesOfFolder, type HubServer, startHubServer } from "../support/hubServer.ts";
import { until } from "../support/until.ts";

/** Opening a model on two busy cores without a GPU; how fast is not this test's subject. */
const slowMs = 150_000;
const tiny = "tiny-org/keyshift";
const other = "tiny-org/second";

describe("models", function () {
  this.timeout(2 * slowMs);
  let hub: HubServer;
  const settings = (): vscode.WorkspaceConfiguration => vscode.workspace.getConfiguration();

  before(async () => {
    const root = process.env.LCP_HOST_ROOT;
    assert.ok(root, "LCP_HOST_ROOT names the checkout");
    const files = filesOfFolder(join(root, "media", "specimens", "ask-5m"));
    hub = await startHubServer({
      [tiny]: { files: { ...files, "pytorch_model.bin": "pickle" }, license: "mit", modelType: "lcp_keyshift" },
      [other]: { files, license: "apache-2.0" },
      "tiny-org/gguf": { files: filesOfFolder(join(root, "test", "golden", "gguf")), license: "mit" },
      "tiny-org/gated": { files, gated: "auto", token: "hf_good" },
    });
    await set(settingIds.hubUrl, hub.url);
  });

  after(async () => {
    for (const id of [settingIds.modelPath, settingIds.hubUrl, settingIds.hubOffline, "http.proxy"]) await set(id, undefined);
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
    await hub.close();
  });

  it("are downloaded from a hub once the user has seen what will come, and appear in the view", async () => {
    const added = await addFromSheet(tiny);
    assert.ok(added);
    const row = await rowAt(added.path);
    assert.equal(row.label, tiny);
    assert.equal(row.state.kind, "ready");
    assert.match(rowDescription(row), /^lcp_keyshift · [\d.]+K context · f16 · [\d.]+ MB · downloaded$/);
    assert.match(
      rowSentence(row),
      /^tiny-org\/keyshift, model, not loaded, family lcp_keyshift, trained on [\d,]+ tokens, .* MB on disk/,
    );
    assert.equal(row.source?.license, "mit");
    for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
      assert.ok(existsSync(join(added.path, name)), name);
    assert.ok(!existsSync(join(added.path, "pytorch_model.bin")), "pickles are never downloaded");
    assert.ok(!hub.requests.some(({ path }) => path.includes("pytorch_model.bin") || path.includes("README.md")));
  });

  it("are used by the playground, which answers with them", async () => {
    const { path } = await rowNamed(tiny);
    assert.equal(await vscode.commands.executeCommand(commandIds.useModel, path), true);
    assert.equal(settings().get(settingIds.modelPath), path);
    await vscode.commands.executeCommand(commandIds.openPlayground);
    const { panel } = await stateWhere("the engine", (state) => state.panel?.engine === "ready", slowMs);
    const row = await until("the row to say that it is loaded", 30_000, async () => {
      const found = await rowAt(path);
      return found.engine?.status === "ready" ? found : undefined;
    });
    assert.match(rowDescription(row), /^loaded · /);
    assert.match(row.engine?.device ?? "", /WASM|WebGPU/);
    const runs = panel?.runs ?? 0;
    const question = "Where is retryCeiling defined?";
    assert.deepEqual(await vscode.commands.executeCommand(commandIds.askQuestion, question), { accepted: true });
    await stateWhere("the answer", (state) => state.panel?.run === "idle" && state.panel.runs === runs + 1, slowMs);
    await stateWhere(
      "counts with the model's own tokenizer",
      ({ budget }) => budget?.state === "ready" && budget.tokenizer === tiny,
      slowMs,
    );
  });

  it("say in words what fits this machine, and what will run them", async () => {
    const { path } = await rowNamed(tiny);
    const sentences = await vscode.commands.executeCommand<string[]>(commandIds.preflightModel, path);
    assert.match(
      sentences[0] ?? "",
      /^5\.3 million parameters\. The weights take 10\.6 MB as the file has them \(mostly f16\), 21\.\d MB as f32/,
    );
    assert.match(sentences[1] ?? "", /trained on [\d,]+ tokens\. Their KV cache takes .* all of it fits/);
    assert.match(sentences[2] ?? "", /^It will run on .*: /, "the open playground could be asked");
    const shown = vscode.workspace.textDocuments.find(({ uri }) => uri.path.includes("What fits"));
    assert.ok(shown?.getText().includes(sentences[0] ?? "-"));
  });

  it("can be stopped while they come, and resumed where they stopped", async () => {
    hub.faults.push({ on: /\/[0-9a-f]{64}\?/, bytesPerSecond: 2_000_000 });
    const adding = addFromSheet(other);
    const begun = await until("some bytes", 30_000, async () => {
      const row = (await rows()).find(({ label }) => label === other);
      return row?.state.kind === "downloading" && (row.state.progress?.doneBytes ?? 0) > 500_000 ? row : undefined;
    });
    await vscode.commands.executeCommand(commandIds.stopDownload, begun.path);
    assert.equal(await adding, undefined);
    const stopped = await rowAt(begun.path);
    assert.ok(stopped.state.kind === "incomplete" && stopped.state.doneBytes > 500_000, JSON.stringify(stopped.state));
    assert.match(rowDescription(stopped), /^stopped at .* of 10\.8 MB · downloaded$/);
    assert.equal(await vscode.commands.executeCommand(commandIds.useModel, begun.path), undefined, "half a model is no model");

    hub.faults.length = 0;
    const before = hub.requests.length;
    assert.equal(await vscode.commands.executeCommand(commandIds.resumeDownload, begun.path), true);
    assert.equal((await rowAt(begun.path)).state.kind, "ready");
    const ranges = hub.requests.slice(before).flatMap(({ store, range }) => (store ? [range] : []));
    assert.equal(ranges.length, 1);
    assert.match(ranges[0] ?? "", /^bytes=[1-9]\d{5,}-$/);
  });

  it("in GGUF are one of the files of a repository, are opened, and set the window by their header", async () => {
    const added = await addFromSheet("tiny-org/gguf", "bloom.gguf");
    assert.ok(added);
    const row = await rowAt(added.path);
    assert.match(rowDescription(row), /^bloom · 128 context · \w+ · [\d.]+ kB · downloaded$/);
    assert.equal(await vscode.commands.executeCommand(commandIds.useModel, added.path), true);
    await until("the engine to be open", slowMs, async () =>
      (await rowAt(added.path)).engine?.status === "ready" ? true : undefined,
    );
    await set(settingIds.reserve, 16);
    await set(settingIds.window, 0);
    await stateWhere(
      "its window and its tokenizer",
      ({ budget }) => budget?.window === 128 && budget.tokenizer === "bloom.gguf",
      slowMs,
    );
    for (const id of [settingIds.window, settingIds.reserve, settingIds.modelPath]) await set(id, undefined);
  });

  it("are not asked for where there is none, where the licence is not accepted, or when the user wants no network", async () => {
    const add = (repository: string) =>
      vscode.commands.executeCommand<KnownModel | undefined>(commandIds.addModel, { repository });
    const before = (await rows()).length;
    assert.equal(await add("tiny-org/none"), undefined);
    assert.equal(await add("not a name"), undefined);
    assert.equal(await add("tiny-org/gated"), undefined);
    await set(settingIds.hubOffline, true);
    const { connections } = hub;
    assert.equal(await add(tiny), undefined);
    assert.equal(hub.connections, connections, "nothing was opened");
    await set(settingIds.hubOffline, undefined);
    assert.equal((await rows()).length, before);
  });

  it("of a gated repository come once a token is set, which no other address gets", async () => {
    await vscode.commands.executeCommand(commandIds.setHubToken, "hf_good");
    try {
      const added = await addFromSheet("tiny-org/gated");
      assert.ok(added);
      assert.ok(hub.requests.every(({ store, authorization }) => !store || authorization === undefined));
    } finally {
      await vscode.commands.executeCommand(commandIds.setHubToken, "");
    }
  });

  it("come through the proxy of VS Code's settings", async () => {
    await set("http.proxy", hub.url);
    await set(settingIds.hubUrl, "http://hub.test");
    const before = hub.requests.length;
    try {
      assert.equal(await vscode.commands.executeCommand(commandIds.addModel, { repository: "tiny-org/none" }), undefined);
      const asked = await until("the proxy to be asked", 20_000, async () => hub.requests.slice(before).at(0));
      assert.match(asked.url, /^http:\/\/hub\.test(:80)?\/api\/models\/tiny-org\/none\//);
    } finally {
      await set("http.proxy", undefined);
      await set(settingIds.hubUrl, hub.url);
    }
  });

  it("of the user's own are read where they lie", async () => {
    const { path } = await rowNamed(tiny);
    const copy = vscode.Uri.file(join(path, "..", "..", "..", "own-model"));
    await vscode.workspace.fs.copy(vscode.Uri.file(path), copy, { overwrite: true });
    await vscode.commands.executeCommand(commandIds.addModel, { path: copy.fsPath });
    const row = await rowAt(copy.fsPath);
    assert.deepEqual([row.origin, row.state.kind], ["disk", "ready"]);
    await vscode.workspace.fs.delete(copy, { recursive: true });
    const gone = await rowAt(copy.fsPath);
    assert.equal(gone.state.kind, "missing");
    assert.match(rowDescription(gone), /^not there · from disk$/);
    assert.match(rowSentence(gone), /does not exist/);
  });
});

/** Runs the command and presses Enter in what it asks, the first choice and the sheet, until the model is on the list; undefined where nothing was added. */
async function addFromSheet(repository: string, label = repository): Promise<KnownModel | undefined> {
  const work = vscode.commands.executeCommand<KnownModel | undefined>(commandIds.addModel, { repository });
  let done = false;
  const settled = Promise.resolve(work).finally(() => {
    done = true;
  });
  await until("the download to begin", 60_000, async () => {
    if (done) return true;
    await vscode.commands.executeCommand("workbench.action.acceptSelectedQuickOpenItem");
    const row = (await rows()).find((candidate) => candidate.label === label);
    return row === undefined ? undefined : true;
  });
  return settled;
}

async function rows(): Promise<ModelRow[]> {
  const found = await vscode.commands.executeCommand<ModelRow[] | undefined>(commandIds.showModels);
  assert.ok(found, "the list can be read");
  return found;
}

async function rowAt(path: string): Promise<ModelRow> {
  const row = (await rows()).find((candidate) => candidate.path === path);
  assert.ok(row, `a row at ${path}`);
  return row;
}

async function rowNamed(label: string): Promise<ModelRow> {
  const row = (await rows()).find((candidate) => candidate.label === label);
  assert.ok(row, `a row named ${label}`);
  return row;
}

async function set(id: string, value: unknown): Promise<void> {
  await vscode.workspace.getConfiguration().update(id, value, vscode.ConfigurationTarget.Global);
}
