/** What VS Code offers chats: the participant through its real handler, the models through `vscode.lm`. */
import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as vscode from "vscode";
import { memoryOf } from "../../extension/chat/history.ts";
import { modelVendor } from "../../extension/chat/names.ts";
import { commandIds } from "../../extension/commandIds.ts";
import type { ExtensionApi } from "../../extension/main.ts";
import { bundledModelFolder } from "../../extension/models/location.ts";
import { readTokenizer } from "../../extension/server/tokenizerFile.ts";
import { settingIds } from "../../extension/settings.ts";
import { tinyModelContents } from "../support/tinyModel.ts";
import { extensionId, extensionState, stateWhere, workspaceFolder } from "../support/extensionState.ts";
import { until } from "../support/until.ts";

/** Loading and answering on two busy cores without a GPU; how fast is not this test's subject. */
const slowMs = 150_000;
const ceiling = "Where is `retryCeiling` defined?";
const backoff = "src/net/backoff.ts";

/** What a chat response was made of. */
interface Shown {
  markdown: string;
  progress: string[];
  anchors: { place: vscode.Location; title: string }[];
  references: vscode.Location[];
  buttons: string[];
  result: vscode.ChatResult;
}

interface Asking {
  command?: string;
  references?: vscode.ChatPromptReference[];
  history?: vscode.ChatResponseTurn[];
  token?: vscode.CancellationToken;
  onProgress?: (text: string) => void;
}

describe("@longcontext", function () {
  this.timeout(2 * slowMs);

  before(async () => {
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
    await stateWhere("the counts", ({ budget }) => budget?.state === "ready");
  });

  after(async () => {
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  });

  it("opens the playground by itself, beside and without taking the keyboard, and links the quoted lines", async () => {
    await vscode.window.showTextDocument(fileUri("src/main.ts"), { viewColumn: vscode.ViewColumn.One });
    assert.equal((await extensionState()).panel, undefined);
    const shown = await ask(ceiling);
    assert.equal(shown.result.errorDetails, undefined);
    assert.match(shown.markdown, /```ts\nexport const retryCeiling = 45731;\n```/);
    const [anchor] = shown.anchors;
    assert.deepEqual([pathOf(anchor?.place), anchor?.title], [backoff, `${backoff}:5`]);
    assert.deepEqual(anchor?.place.range, new vscode.Range(4, 0, 4, "export const retryCeiling = 45731;".length));
    assert.deepEqual(shown.references[0], anchor.place);
    assert.ok(shown.progress.includes("Opening ask-5m in the playground"), shown.progress.join("\n"));
    assert.ok(
      shown.progress.some((text) => /^Reading [\d,]+ tokens of 1[12] files$/.test(text)),
      shown.progress.join("\n"),
    );
    assert.match(shown.markdown, /[\d,]+ prompt tokens.*; ask-5m on (WASM|WebGPU) in [\d.]+ s \(/);
    assert.deepEqual(shown.buttons, [commandIds.openPlayground]);
    assert.equal(vscode.window.activeTextEditor?.document.uri.path, fileUri("src/main.ts").path);
    const tab = vscode.window.tabGroups.all
      .flatMap(({ tabs }) => tabs)
      .find(({ input }) => input instanceof vscode.TabInputWebview);
    assert.equal(tab?.group.viewColumn, vscode.ViewColumn.Two);
    assert.equal(tab.group.isActive, false);
  });

  it("keeps its answers as runs of the playground, and goes on with what is cached", async () => {
    const before = (await extensionState()).panel?.runs ?? 0;
    const first = await ask(ceiling);
    const second = await ask("What is the value of `MAX_ATTEMPTS`?", { history: [turnOf(first.result)] });
    assert.match(second.markdown, /const MAX_ATTEMPTS = 9;/);
    assert.match(second.markdown, /, [\d,]+ of them cached/);
    assert.equal(memoryOf(second.result.metadata)?.path, "src/net/client.ts");
    const { panel } = await extensionState();
    assert.deepEqual([panel?.runs, panel?.run], [before + 2, "idle"]);
  });

  it("reads only what is attached, and says what is not read", async () => {
    const shown = await ask("What is the value of `TIDE_PERIOD_HOURS`?", {
      references: [
        { id: "a", value: fileUri("tools/tides.py") },
        { id: "b", value: fileUri("assets/pier.bin") },
        { id: "c", value: vscode.Uri.file("/elsewhere/x.ts") },
      ],
    });
    assert.match(shown.markdown, /Read only tools\/tides\.py\./);
    assert.match(shown.markdown, /TIDE_PERIOD_HOURS = 12\.42/);
    assert.match(shown.markdown, /Not read: assets\/pier\.bin: binary content/);
    assert.match(shown.markdown, /Not read: \/elsewhere\/x\.ts: it is outside the workspace\./);
    assert.ok(
      shown.progress.some((text) => / tokens of 1 file$/.test(text)),
      shown.progress.join("\n"),
    );
    assert.equal(pathOf(shown.anchors[0]?.place), "tools/tides.py");
    const named = await ask("What does #tides say?", {
      references: [{ id: "a", value: fileUri("tools/tides.py"), range: [10, 16] }],
    });
    assert.equal(memoryOf(named.result.metadata)?.question, "What does tools/tides.py say?");
  });

  it("reads of a selection its lines alone, and links them where they are in the file", async () => {
    const selection = new vscode.Location(fileUri("src/fares.ts"), new vscode.Range(1, 0, 3, 0));
    const shown = await ask("What is the value of `ZONE_SURCHARGE_PENCE`?", { references: [{ id: "s", value: selection }] });
    assert.match(shown.markdown, /Read only src\/fares\.ts:2-3\./);
    assert.match(shown.markdown, /const ZONE_SURCHARGE_PENCE = 140;/);
    assert.equal(shown.anchors[0]?.place.range.start.line, 1);
  });

  it("reads a context set at its levels, and leaves the user's as they are", async () => {
    const folder = join(workspaceFolder(), ".longcontext");
    mkdirSync(folder, { recursive: true });
    const levels = { "": "excluded", "src/net/": "full" };
    writeFileSync(join(folder, "net.json"), JSON.stringify({ version: 1, name: "net", levels }));
    try {
      const shown = await ask(ceiling, { references: [{ id: "set", value: fileUri(".longcontext/net.json") }] });
      assert.match(shown.markdown, /Read only the context set "net"\./);
      assert.ok(
        shown.progress.some((text) => / tokens of 2 files$/.test(text)),
        shown.progress.join("\n"),
      );
      assert.equal(pathOf(shown.anchors[0]?.place), backoff);
      writeFileSync(join(folder, "net.json"), JSON.stringify({ version: 1, name: "net", levels: { "": "half" } }));
      const wrong = await ask(ceiling, { references: [{ id: "set", value: fileUri(".longcontext/net.json") }] });
      assert.match(wrong.result.errorDetails?.message ?? "", /net\.json: .*"half"\. To do: use one of full/);
    } finally {
      rmSync(folder, { recursive: true });
    }
    // The server notices by itself that the set is gone; until then it is a file that cannot be read any more.
    const everything = await until("the set to be gone", slowMs, async () => {
      const shown = await ask(ceiling);
      const failure = shown.result.errorDetails?.message;
      if (failure !== undefined) assert.match(failure, /net\.json is gone\. To do: ask again/);
      return failure === undefined ? shown : undefined;
    });
    assert.ok(
      everything.progress.some((text) => / tokens of 1[12] files$/.test(text)),
      everything.progress.join("\n"),
    );
  });

  it("says with /plan what a question would cost, and asks nothing", async () => {
    const { panel } = await extensionState();
    const shown = await ask(ceiling, { command: "plan" });
    assert.equal(shown.result.errorDetails, undefined);
    assert.match(
      shown.markdown,
      /^Asking this reads \*\*[\d,]+ tokens\*\* from 1[12] files with ask-5m: .*\*\*[\d,]+\*\* have to be computed\./,
    );
    assert.match(shown.markdown, /The window is [\d,]+ tokens\./);
    assert.equal((await extensionState()).panel?.runs, panel?.runs);
    const where = await ask("pauseBefore", { command: "where" });
    assert.equal(memoryOf(where.result.metadata)?.question, "Where is `pauseBefore` defined?");
    assert.match(where.markdown, /export function pauseBefore/);
  });

  it("explains itself where nothing is asked", async () => {
    assert.match((await ask(" ")).markdown, /`\/plan question`/);
  });

  it("stops where the chat is stopped, and the engine with it", async () => {
    const stopping = new vscode.CancellationTokenSource();
    const { panel } = await extensionState();
    // Another pack, so that there is something to read before the answer.
    const references = [{ id: "f", value: fileUri("src") }];
    const shown = await ask("Where is `bookSeats` defined?", {
      references,
      token: stopping.token,
      onProgress: () => stopping.cancel(),
    });
    assert.deepEqual(shown.result, {});
    assert.equal(shown.anchors.length, 0);
    await stateWhere("the engine to be free", (state) => state.panel?.run === "idle", slowMs);
    assert.ok(((await extensionState()).panel?.runs ?? 0) <= (panel?.runs ?? 0) + 1);
    assert.match((await ask(ceiling)).markdown, /retryCeiling = 45731/);
  });

  it("tells what is wrong with its remedy", async () => {
    await set(settingIds.modelPath, "/no/such/model");
    try {
      const { errorDetails } = (await ask(ceiling)).result;
      assert.match(errorDetails?.message ?? "", /\/no\/such\/model.* To do: \S+/);
    } finally {
      await set(settingIds.modelPath, undefined);
    }
    await stateWhere("the engine", (state) => state.panel?.engine === "ready" && state.budget?.state === "ready", slowMs);
  });
});

describe("the models in VS Code's picker", function () {
  this.timeout(2 * slowMs);
  const bundled = bundledModelFolder(root());

  after(async () => {
    await set(settingIds.modelPath, undefined);
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
  });

  it("are those that can be opened, with the window of the playground's settings and no tools", async () => {
    const model = await modelNamed("ask-5m");
    assert.equal(model.vendor, modelVendor);
    assert.equal(model.family, "lcp_keyshift");
    assert.ok(model.maxInputTokens > 4096, `${model.maxInputTokens}`);
  });

  it("count exactly, by their own tokenizer", async () => {
    const model = await modelNamed("ask-5m");
    const tokenizer = await readTokenizer(bundled);
    for (const text of ["export const retryCeiling = 45731;\n", "día — 你好 👋🏽", ""])
      assert.equal(await model.countTokens(text), tokenizer.count(text), text);
    const message = vscode.LanguageModelChatMessage.User("const a = 1;");
    assert.equal(await model.countTokens(message), tokenizer.count("=== message 1 ===\n") + tokenizer.count("const a = 1;\n"));
  });

  it("answer any extension, and open the playground by themselves", async () => {
    await vscode.commands.executeCommand("workbench.action.closeAllEditors");
    const model = await modelNamed("ask-5m");
    const text = "const pierCount = 12;\nconst ferryCount = 7;\n\nWhat is the value of `ferryCount`?";
    assert.equal((await said(model, [text])).trim(), "const ferryCount = 7;");
    const { panel } = await extensionState();
    assert.deepEqual([panel?.engine, panel?.run], ["ready", "idle"]);
  });

  it("refuse with a remedy what they cannot do", async () => {
    const model = await modelNamed("ask-5m");
    await assert.rejects(said(model, ["What is the value of `ferryCount`?"]), /@longcontext/);
  });

  it("of a chat model go through its template, stream, are counted to the token, and become the model in use", async () => {
    const path = await writeChatModel(join(workspaceFolder(), "..", "tiny-chat"));
    await vscode.commands.executeCommand(commandIds.addModel, { path });
    const model = await modelNamed("tiny-chat");
    const pieces: string[] = [];
    const response = await model.sendRequest([vscode.LanguageModelChatMessage.User("ab")]);
    // It would go on for thousands of tokens; who stops listening stops it.
    for await (const piece of response.text) if (pieces.push(piece) === 20) break;
    assert.equal(pieces.length, 20, "it comes in pieces");
    assert.equal(vscode.workspace.getConfiguration().get(settingIds.modelPath), path);
    const count = await model.countTokens(vscode.LanguageModelChatMessage.User("ab"));
    assert.ok(count > (await model.countTokens("ab")), "the template takes tokens too");
    assert.ok(count <= model.maxInputTokens);
    const tooMuch = [vscode.LanguageModelChatMessage.User("ab".repeat(2 * model.maxInputTokens))];
    await assert.rejects(collect(model, tooMuch), /To do: /);
  });

  it("draw as the request says: hotter, by its seed, and no more tokens than it wants", async () => {
    const model = await modelNamed("tiny-chat");
    const messages = [vscode.LanguageModelChatMessage.User("ab")];
    const drawn = (seed: number, max_tokens: number): Promise<string> =>
      collect(model, messages, { modelOptions: { temperature: 2, seed, max_tokens } });
    const [first, second, same, shorter] = [await drawn(1, 24), await drawn(2, 24), await drawn(1, 24), await drawn(1, 6)];
    assert.equal(same, first);
    assert.notEqual(second, first);
    assert.ok(shorter.length < first.length, shorter);
    // The model says any bytes: those of an unfinished character are shown as such.
    assert.ok(first.startsWith(shorter.replace(/\uFFFD+$/, "")), `${shorter} of ${first}`);
    await assert.rejects(collect(model, messages, { modelOptions: { temperature: "hot" } }), /takes a number from 0 to 2/);
  });

  it("stop where the request is stopped", async () => {
    const model = await modelNamed("tiny-chat");
    const stopping = new vscode.CancellationTokenSource();
    const response = await model.sendRequest([vscode.LanguageModelChatMessage.User("ab")], {}, stopping.token);
    let pieces = 0;
    try {
      for await (const piece of response.text) if (piece !== "" && ++pieces === 1) stopping.cancel();
    } catch (error) {
      assert.ok(error instanceof vscode.CancellationError || (error instanceof Error && /cancel/i.test(error.message)));
    }
    await set(settingIds.modelPath, undefined);
    const shown = await ask(ceiling);
    assert.equal(shown.result.errorDetails, undefined);
    assert.match(shown.markdown, /retryCeiling = 45731/);
  });
});

/** Asks the participant as VS Code does. */
async function ask(prompt: string, options: Asking = {}): Promise<Shown> {
  const extension = vscode.extensions.getExtension<ExtensionApi>(extensionId);
  assert.ok(extension);
  const { answerChat } = await extension.activate();
  const shown: Shown = { markdown: "", progress: [], anchors: [], references: [], buttons: [], result: {} };
  const stream: vscode.ChatResponseStream = {
    markdown: (value) => void (shown.markdown += typeof value === "string" ? value : value.value),
    progress: (value) => {
      shown.progress.push(value);
      options.onProgress?.(value);
    },
    anchor: (value, title = "") => {
      if (value instanceof vscode.Location) shown.anchors.push({ place: value, title });
    },
    reference: (value) => {
      if (value instanceof vscode.Location) shown.references.push(value);
    },
    button: ({ command }) => void shown.buttons.push(command),
    filetree: () => assert.fail("no file tree is shown"),
    push: () => assert.fail("no other part is shown"),
  };
  const [model] = await vscode.lm.selectChatModels({ vendor: modelVendor, family: "lcp_keyshift" });
  assert.ok(model);
  const { command, references = [], history = [], token = new vscode.CancellationTokenSource().token } = options;
  shown.result = await answerChat({ prompt, command, references, model }, { history }, stream, token);
  return shown;
}

/** An earlier answer as VS Code gives it back; only the host makes such objects. */
function turnOf(result: vscode.ChatResult): vscode.ChatResponseTurn {
  const turn: unknown = Object.create(vscode.ChatResponseTurn.prototype);
  assert.ok(turn instanceof vscode.ChatResponseTurn);
  return Object.assign(turn, { result: JSON.parse(JSON.stringify(result)) as vscode.ChatResult });
}

async function modelNamed(name: string): Promise<vscode.LanguageModelChat> {
  const models = await vscode.lm.selectChatModels({ vendor: modelVendor });
  const model = models.find((candidate) => candidate.name === name);
  assert.ok(model, models.map((one) => one.name).join(", "));
  return model;
}

/** A random model that answers through a template; returns its folder. */
async function writeChatModel(folder: string): Promise<string> {
  const contents = tinyModelContents({ promptFormat: "chat" });
  await mkdir(folder, { recursive: true });
  for (const [name, content] of Object.entries(contents)) await writeFile(join(folder, name), content);
  return folder;
}

function said(model: vscode.LanguageModelChat, texts: readonly string[]): Promise<string> {
  return collect(
    model,
    texts.map((text) => vscode.LanguageModelChatMessage.User(text)),
  );
}

async function collect(
  model: vscode.LanguageModelChat,
  messages: vscode.LanguageModelChatMessage[],
  options: vscode.LanguageModelChatRequestOptions = {},
): Promise<string> {
  let text = "";
  for await (const piece of (await model.sendRequest(messages, options)).text) text += piece;
  return text;
}

function fileUri(path: string): vscode.Uri {
  return vscode.Uri.file(join(workspaceFolder(), path));
}

function pathOf(place: vscode.Location | undefined): string | undefined {
  return place && vscode.workspace.asRelativePath(place.uri);
}

function root(): string {
  const { LCP_HOST_ROOT } = process.env;
  assert.ok(LCP_HOST_ROOT, "LCP_HOST_ROOT names the checkout");
  return LCP_HOST_ROOT;
}

async function set(id: string, value: unknown): Promise<void> {
  await vscode.workspace.getConfiguration().update(id, value, vscode.ConfigurationTarget.Global);
}
