/** `@longcontext` in the chat view of a real VS Code, without an account: the answer, its link, and what it offers next. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Locator } from "playwright-core";
import { Workbench } from "../support/workbench.ts";

/** Activation, the engine and an answer on two busy cores without a GPU. */
const slowMs = 180_000;

describe("the chat view", () => {
  let workbench: Workbench;

  before(async () => {
    workbench = await Workbench.open("ferry");
  });

  after(async () => {
    await workbench.close();
  });

  it("answers @longcontext with the quoted line, and opens the playground beside by itself", async () => {
    await send(workbench, "Where is `retryCeiling` defined?");
    const response = await lastResponse(workbench, /prompt tokens/);
    // Code is shown with spaces that do not break.
    const text = (await response.innerText()).replaceAll("\u00a0", " ");
    assert.match(text, /export const retryCeiling = 45731;/);
    assert.match(text, /ask-5m on (WASM|WebGPU)/);
    await workbench.panelFrame();
  });

  it("links the quote to its lines", async () => {
    const response = await lastResponse(workbench, /prompt tokens/);
    await response.locator(".chat-inline-anchor-widget", { hasText: "backoff.ts" }).first().click();
    await workbench.until("the cited line in the editor", 60_000, async () =>
      /^Ln 5, Col 35 \(34 selected\)$/.test(await workbench.cursorText()) ? true : undefined,
    );
    await workbench.screenshot("chat");
  });

  it("offers what could be asked next, and answers it in the same chat", async () => {
    const next = workbench.page.locator(".interactive-session-followups a, .interactive-session-followups .monaco-button", {
      hasText: "What is the value of",
    });
    await next.first().click({ timeout: 60_000 });
    const text = await (await lastResponse(workbench, /of them cached/)).innerText();
    assert.match(text, /retryCeiling/);
  });
});

/** Types into the chat's box, behind the `@longcontext` that the command writes there. */
async function send(workbench: Workbench, text: string): Promise<void> {
  const { page } = workbench;
  await workbench.runCommand("Ask in VS Code's Chat");
  const input = page.locator(".interactive-input-part .monaco-editor").first();
  await input.waitFor({ timeout: 60_000 });
  await input.click();
  await page.keyboard.type(text, { delay: 20 });
  await page.keyboard.press("Enter");
}

/** The newest response, once its text matches. */
function lastResponse(workbench: Workbench, wanted: RegExp): Promise<Locator> {
  return workbench.until(`a response with ${wanted.source}`, slowMs, async () => {
    const response = workbench.page.locator(".interactive-response").last();
    if ((await response.count()) === 0) return undefined;
    return wanted.test(await response.innerText()) ? response : undefined;
  });
}
