/** Every setting of the budget changes what it says it changes. */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import { TokenBadges } from "../../extension/budget/badges.ts";
import { costLine } from "../../extension/budget/cost.ts";
import { findingSource } from "../../extension/budget/findings.ts";
import { extensionId, extensionState, stateWhere, workspaceFolder } from "../support/extensionState.ts";
import { servedRow, serverSource, settled } from "../support/budgetSource.ts";
import { until } from "../support/until.ts";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";

const { Global } = vscode.ConfigurationTarget;

describe("a budget setting", () => {
  const changed = new Set<string>();
  const set = async (name: string, value: unknown): Promise<void> => {
    changed.add(name);
    await vscode.workspace.getConfiguration().update(`longContext.${name}`, value, Global);
  };

  let defaults: BudgetSnapshot;

  before(async () => {
    defaults = await settled();
  });

  afterEach(async () => {
    for (const name of changed) await vscode.workspace.getConfiguration().update(`longContext.${name}`, undefined, Global);
    changed.clear();
    const { tokenizer, totalFiles, window } = defaults;
    await stateWhere(
      "the defaults",
      ({ budget }) =>
        budget?.state === "ready" &&
        budget.tokenizer === tokenizer &&
        budget.totalFiles === totalFiles &&
        budget.window === window,
    );
  });

  it("tokenizer: counts with a preset, and says which", async () => {
    const before = await settled();
    await set("tokenizer", "o200k");
    const { budget } = await stateWhere(
      "o200k counts",
      (state) => state.budget?.state === "ready" && state.budget.tokenizer !== before.tokenizer,
    );
    assert.match(budget?.tokenizer ?? "", /o200k/);
    assert.notEqual(budget?.tokens, before.tokens);
  });

  it("tokenizerPath: goes before the preset", async () => {
    const before = await settled();
    await set("tokenizer", "o200k");
    await stateWhere("o200k counts", ({ budget }) => budget?.state === "ready" && budget.tokens !== before.tokens);
    const extension = vscode.extensions.getExtension(extensionId);
    assert.ok(extension);
    await set("tokenizerPath", join(extension.extensionPath, "media/specimens/ask-5m/tokenizer.json"));
    await stateWhere("the counts of the model", ({ budget }) => budget?.state === "ready" && budget.tokens === before.tokens);
    await set("tokenizerPath", "/no/such/tokenizer.json");
    const { budget } = await stateWhere("the failure", (state) => state.budget?.state === "failed");
    assert.match(budget?.error?.message ?? "", /tokenizer/);
  });

  it("window and reserve: are the meter's, and 0 is the model's window", async () => {
    await set("window", 50_000);
    await set("reserve", 1_000);
    await stateWhere("the window", ({ budget }) => budget?.window === 50_000 && budget.reserve === 1_000);
    await stateWhere("beside what the loaded model was trained for", ({ budget }) => budget?.modelWindow === 2048);
    await set("window", 0);
    await stateWhere("the model's window", ({ budget }) => budget?.window === 2048);
  });

  it("include: leaves out what no glob matches, with a reason", async () => {
    await set("include", ["src/**"]);
    await stateWhere("fewer files", ({ budget }) => budget?.state === "ready" && budget.totalFiles === 7);
    const { children } = await servedRow("");
    const tools = children.leftOut.find(({ path }) => path.startsWith("tools"));
    assert.match(tools?.reason ?? "", /include|glob/);
  });

  it("maxFileKiB: leaves out larger files, with a reason", async () => {
    const path = join(workspaceFolder(), "src", "large.ts");
    writeFileSync(path, "export const wave = 1;\n".repeat(100));
    try {
      await until("the large file", 60_000, async () =>
        (await servedRow("src/large.ts")).row?.kind === "file" ? true : undefined,
      );
      await set("maxFileKiB", 1);
      await until("the exclusion", 60_000, async () => {
        const { children } = await servedRow("src/");
        const row = children.leftOut.find(({ path: found }) => found === "src/large.ts");
        return row && /KiB|large/.test(row.reason) ? true : undefined;
      });
    } finally {
      rmSync(path);
    }
  });

  it("codeLens: shows tokens above symbols, off by default", async () => {
    const document = await vscode.workspace.openTextDocument(join(workspaceFolder(), "src/booking.ts"));
    assert.deepEqual(await lensTitles(document), []);
    await set("codeLens", true);
    const titles = await until("lenses", 60_000, async () => {
      const found = await lensTitles(document);
      return found.length > 0 ? found : undefined;
    });
    for (const title of titles) assert.match(title, /^[\d.]+K? tokens$/);
  });

  it("badges: shows tokens in the explorer, and can be switched off", async () => {
    const badges = new TokenBadges(await serverSource());
    const uri = vscode.Uri.file(join(workspaceFolder(), "src/booking.ts"));
    const none = new vscode.CancellationTokenSource().token;
    try {
      const shown = await badges.provideFileDecoration(uri, none);
      const { row } = await servedRow("src/booking.ts");
      assert.ok(row && shown);
      assert.ok(shown.tooltip?.includes(`${row.fullTokens.toLocaleString("en-US")} tokens`), shown.tooltip);
      assert.ok(
        (await badges.provideFileDecoration(vscode.Uri.file(join(workspaceFolder(), "src")), none))?.badge,
        "folders too",
      );
      await set("badges", false);
      assert.equal(await badges.provideFileDecoration(uri, none), undefined);
    } finally {
      badges.dispose();
    }
  });

  it("findings: fills the Problems view, and can be switched off", async () => {
    const uri = vscode.Uri.file(join(workspaceFolder(), "src", "keys.ts"));
    // Made of parts, so that this file holds no secret.
    writeFileSync(uri.fsPath, `export const key = "${["ghp", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"].join("_")}";\n`);
    const found = () => vscode.languages.getDiagnostics(uri).filter(({ source }) => source === findingSource);
    try {
      await until("the finding", 60_000, async () => (found().some(({ code }) => code === "secret") ? true : undefined));
      await set("findings", false);
      await until("no finding", 30_000, async () => (found().length === 0 ? true : undefined));
    } finally {
      rmSync(uri.fsPath);
    }
  });

  it("prices: makes a cost line, and a wrong table is told", async () => {
    const { budget } = await extensionState();
    assert.ok(budget);
    const thousand = { ...budget, packTokens: 1_000_000, reserve: 0 };
    assert.equal(costLine(thousand), undefined);
    await set("prices", [{ model: "remote", inputPerMillion: 3 }]);
    assert.equal(costLine(thousand), "remote: $3.00 to ask");
    await set("prices", [{ model: "remote" }]);
    assert.throws(() => costLine(thousand), { code: "bad-argument" });
  });

  it("hovers: a symbol and a selection tell their tokens", async () => {
    const uri = vscode.Uri.file(join(workspaceFolder(), "src/booking.ts"));
    const editor = await vscode.window.showTextDocument(uri);
    const line = editor.document
      .getText()
      .split("\n")
      .findIndex((text) => /^export (async )?function/.test(text));
    const symbol = await hoverText(uri, new vscode.Position(line, 18));
    assert.match(symbol, /[\d,]+ tokens \(lines? \d+/);
    editor.selection = new vscode.Selection(line, 0, line, 20);
    assert.match(await hoverText(uri, new vscode.Position(line, 5)), /Selection: \d+ tokens/);
  });
});

async function lensTitles(document: vscode.TextDocument): Promise<string[]> {
  const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>("vscode.executeCodeLensProvider", document.uri, 100);
  return lenses.flatMap(({ command }) => (command && /tokens/.test(command.title) ? [command.title] : []));
}

async function hoverText(uri: vscode.Uri, position: vscode.Position): Promise<string> {
  const hovers = await vscode.commands.executeCommand<vscode.Hover[]>("vscode.executeHoverProvider", uri, position);
  const texts = hovers
    .flatMap(({ contents }) => contents)
    .map((content) => (content instanceof vscode.MarkdownString ? content.value : ""));
  return texts.join("\n").replaceAll("&nbsp;", " ").replaceAll("\\", "");
}
