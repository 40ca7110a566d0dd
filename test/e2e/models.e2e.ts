/** Models as a person has them: added from a hub through the lists, seen in the view, used, asked, and deleted. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import type { Locator } from "playwright-core";
import { filesOfFolder, type HubServer, startHubServer } from "../support/hubServer.ts";
import { PlaygroundPage } from "../support/playgroundPage.ts";
import { Workbench } from "../support/workbench.ts";

const repository = "tiny-org/keyshift";
const question = "Where is `retryCeiling` defined?";
/** Label and family of what comes with the extension. */
const bundled = {
  "ask-5m": "lcp_keyshift",
  "rope-4m": "lcp_keyshift",
  "alibi-4m": "lcp_keyshift",
  "mamba-4m": "mamba",
  "rwkv7-4m": "rwkv7",
};

describe("models in the window", () => {
  let hub: HubServer;
  let workbench: Workbench;

  before(async () => {
    const files = filesOfFolder("media/specimens/ask-5m");
    hub = await startHubServer({ [repository]: { files, license: "mit", modelType: "lcp_keyshift" } });
    workbench = await Workbench.open("ferry", { machine: { "longContext.hub.url": hub.url } });
  });

  after(async () => {
    await workbench.close();
    await hub.close();
  });

  afterEach(async () => {
    // What the window looked like where a test failed.
    await workbench.screenshot("models-last");
  });

  const view = (): Locator => workbench.page.locator(".pane", { has: workbench.page.locator('[aria-label="Models Section"]') });
  const row = (label: string): Locator => view().locator(".monaco-list-row", { hasText: label }).first();
  const quickRow = (text: string): Locator =>
    workbench.page.locator(".quick-input-list .monaco-list-row", { hasText: text }).first();
  const input = (): Locator => workbench.page.locator(".quick-input-widget input").first();

  it("list those that come with the extension, each with its mechanism's family and trained length", async () => {
    await workbench.runCommand("Long Context: Focus on Models View");
    for (const [label, family] of Object.entries(bundled)) {
      await row(label).waitFor({ timeout: 60_000 });
      assert.match(await row(label).innerText(), new RegExp(`${family} · [\\d.]+K? context · f16 · [\\d.]+ MB · bundled`));
    }
    await workbench.screenshot("models-bundled");
  });

  it("are added from a hub: the sheet has files, size, licence and place before anything is downloaded", async () => {
    await workbench.runCommand("Long Context: Add Model…");
    await quickRow("Hugging Face repository").waitFor({ timeout: 30_000 });
    await workbench.screenshot("models-add");
    await quickRow("Hugging Face repository").click();
    await input().waitFor();
    await input().fill("not a name");
    await workbench.page.locator(".quick-input-message", { hasText: "is no name of a model" }).waitFor({ timeout: 15_000 });
    await input().fill(repository);
    await workbench.page.keyboard.press("Enter");
    await quickRow("Download").waitFor({ timeout: 30_000 });
    for (const part of ["10.8 MB", "4 files", hub.url, "free", "Licence: mit", "model.safetensors", "What fits this machine?"])
      await quickRow(part).waitFor({ timeout: 15_000 });
    await workbench.screenshot("models-sheet");
    const stored = await quickRow("Download").innerText();
    assert.ok(!hub.requests.some(({ path }) => path.includes("model.safetensors")), "nothing of the weights was asked for");
    assert.match(stored, /Stored in .*tiny-org--keyshift/);
    await quickRow("Download").click();
    await row(repository).waitFor({ timeout: 60_000 });
    await workbench.until("the download", 60_000, async () =>
      (await row(repository).innerText()).includes("f16") ? true : undefined,
    );
    assert.match(await row(repository).innerText(), /lcp_keyshift · [\d.]+K context · f16 · 10\.8 MB · downloaded/);
    const label = await row(repository).getAttribute("aria-label");
    assert.match(label ?? "", /^tiny-org\/keyshift, model, not loaded, family lcp_keyshift, trained on/);
    await workbench.screenshot("models-view");
  });

  it("are used from the list of what can be done with them, and the playground answers", async () => {
    await workbench.runCommand("Long Context: Choose Model");
    await quickRow("ask-5m").waitFor({ timeout: 15_000 });
    await quickRow(repository).waitFor({ timeout: 15_000 });
    await quickRow("Add Model…").waitFor({ timeout: 15_000 });
    await workbench.screenshot("models-choose");
    await workbench.page.keyboard.press("Escape");
    await row(repository).click();
    await quickRow("Use it").waitFor({ timeout: 15_000 });
    await workbench.screenshot("models-actions");
    await workbench.page.keyboard.press("Enter");
    await workbench.until("the row to be the one in use", 30_000, async () =>
      (await row(repository).innerText()).includes("in use") ? true : undefined,
    );
    const panel = await PlaygroundPage.open(workbench);
    await workbench.until("the row to be loaded", 30_000, async () =>
      (await row(repository).innerText()).includes("loaded") ? true : undefined,
    );
    await panel.ask(question);
    assert.equal(await panel.answer(question), "export const retryCeiling = 45731;");
    await workbench.screenshot("models-answer");
  });

  it("tell every fact in rows of their own", async () => {
    await workbench.runCommand("Long Context: Focus on Models View");
    await workbench.until("the facts", 30_000, async () => {
      // The list has the keyboard a moment after the command.
      await workbench.page.keyboard.press("End");
      await workbench.page.keyboard.press("ArrowRight");
      return (await row("Family").isVisible()) ? true : undefined;
    });
    for (const fact of ["Loaded on", "Family", "Context", "Weights", "Size on disk", "Source", "Licence", "Revision"])
      await row(fact).waitFor({ timeout: 15_000 });
    await workbench.screenshot("models-facts");
  });

  it("say what fits this machine in a document", async () => {
    await row(repository).click();
    await quickRow("What fits this machine?").click({ timeout: 15_000 });
    const lines = workbench.page.locator(".view-lines", { hasText: "5.3 million parameters" });
    await lines.waitFor({ timeout: 30_000 });
    await workbench.screenshot("models-preflight");
    assert.match(await lines.innerText(), /It.will.run.on/);
  });

  it("are deleted with their files after a question that says so", async () => {
    const folder = join(workbench.storage, "models", "tiny-org--keyshift");
    const [commit = ""] = readdirSync(folder);
    assert.ok(existsSync(join(folder, commit, "model.safetensors")));
    await row(repository).click();
    await quickRow("Delete it…").waitFor({ timeout: 15_000 });
    await workbench.page.keyboard.press("Escape");
    await quickRow("Delete it…").waitFor({ state: "hidden" });
    await row(repository).focus();
    await workbench.page.keyboard.press("Delete");
    const dialog = workbench.page.locator(".monaco-dialog-box");
    await dialog.getByText(`Delete ${repository}?`).waitFor({ timeout: 15_000 });
    assert.match(await dialog.innerText(), /10\.8 MB that were downloaded will be deleted/);
    await workbench.screenshot("models-delete");
    await dialog.getByRole("button", { name: "Delete" }).click();
    await row(repository).waitFor({ state: "hidden", timeout: 60_000 });
    assert.ok(await row("ask-5m").isVisible(), "what comes with the extension stays");
    assert.ok(!existsSync(folder), "its folder is gone");
  });
});
