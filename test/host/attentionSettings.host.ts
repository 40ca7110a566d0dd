/** Attention and cache formats as VS Code settings: the panel reads and writes them, and hears of changes that are not its own. */
import assert from "node:assert/strict";
import * as vscode from "vscode";
import { parseAttention } from "../../engine/attention/policy.ts";
import { EngineError } from "../../engine/errors.ts";
import { PanelSettingsStore } from "../../extension/panel/panelSettings.ts";
import { settingIds } from "../../extension/settings.ts";
import { until } from "../support/until.ts";

const { Global } = vscode.ConfigurationTarget;

describe("attention settings", () => {
  const stored = new Map<string, unknown>();
  const memento: vscode.Memento = {
    keys: () => [...stored.keys()],
    get: <T>(key: string, otherwise?: T) => (stored.has(key) ? (stored.get(key) as T) : otherwise),
    update: async (key: string, value: unknown) => void stored.set(key, value),
  };
  const set = (id: "attention" | "kv", value: unknown): Thenable<void> =>
    vscode.workspace.getConfiguration().update(settingIds[id], value, Global);
  const value = (id: "attention" | "kv") => vscode.workspace.getConfiguration().get<string>(settingIds[id]);

  let store: PanelSettingsStore;
  let heard = 0;

  beforeEach(() => {
    stored.clear();
    store = new PanelSettingsStore(memento);
    heard = 0;
    store.onDidChangeAttention(() => heard++);
  });

  afterEach(async () => {
    store.dispose();
    await set("attention", undefined);
    await set("kv", undefined);
  });

  it("are flash and f32 until something else is set, by hand or in the panel", async () => {
    assert.deepEqual(store.read().attention, parseAttention("flash"));
    assert.deepEqual(store.read().kv, { keys: "f32", values: "f32" });
    await set("attention", "sinks:4,256");
    await set("kv", "q8,f16");
    await until("news", 30_000, () => Promise.resolve(heard >= 2 || undefined));
    assert.deepEqual(store.read().attention, parseAttention("sinks:4,256"));
    assert.deepEqual(store.read().kv, { keys: "q8", values: "f16" });
  });

  it("are written as a command line would have them, the last choice last, and removed where they are as before", async () => {
    const chosen = store.read();
    const window = { ...chosen, attention: parseAttention("window:512+top-pages:8") };
    await Promise.all([store.write(window), store.write({ ...window, kv: { keys: "q4", values: "q4" } })]);
    assert.deepEqual([value("attention"), value("kv")], ["window:512+top-pages:8", "q4"]);
    assert.equal(heard, 0, "its own writing is no news");
    await store.write(chosen);
    const { globalValue } = vscode.workspace.getConfiguration().inspect(settingIds.attention) ?? {};
    assert.equal(globalValue, undefined);
  });

  it("are no news to the panel that wrote them, also where somebody else reads them meanwhile", async () => {
    let backends = 0;
    const listening = store.onDidChangeBackend(() => backends++);
    const chosen = store.readForPanel();
    const written = store.write({ ...chosen, backend: "ort", attention: parseAttention("window:512") });
    store.read();
    await written;
    await until("the settings", 30_000, () => Promise.resolve(value("attention") === "window:512" || undefined));
    assert.deepEqual([backends, heard], [0, 0]);
    await store.write(chosen);
    listening.dispose();
  });

  it("that cannot be read are told with their name and what would do", async () => {
    await set("attention", "windows:4");
    await until("news", 30_000, () => Promise.resolve(heard > 0 || undefined));
    assert.throws(
      () => store.read(),
      (error) =>
        EngineError.is(error, "bad-argument") && /longContext\.attention/.test(error.message) && /window/.test(error.remedy),
    );
  });
});
