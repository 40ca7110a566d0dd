/** The main job in a real VS Code, with the packaged extension and the bundled model, on both backends. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { PlaygroundPage } from "../support/playgroundPage.ts";
import { Workbench } from "../support/workbench.ts";

const question = "Where is `retryCeiling` defined?";
const definition = { answer: "export const retryCeiling = 45731;", path: "src/net/backoff.ts", line: 5 };
const followUp = "What is the value of `MAX_ATTEMPTS`?";
const followUpAnswer = "const MAX_ATTEMPTS = 9;";

describe("the playground", () => {
  let workbench: Workbench;
  let panel: PlaygroundPage;

  before(async () => {
    // Some of these tests need a prompt that takes its time.
    workbench = await Workbench.open("ferry", { machine: { "longContext.prefixCache.maxGiB": 0 } });
    panel = await PlaygroundPage.open(workbench);
  });

  after(async () => {
    await workbench.close();
  });

  it("shows the same token total as the status bar", async () => {
    await panel.waitFor("the count", async () => (await panel.data("lc-total", "state")) === "ready");
    const total = await panel.number("lc-total", "tokens");
    assert.ok(total > 1000, `${total} tokens`);
    assert.match(
      await workbench.statusBarHover(" used · "),
      new RegExp(`Whole workspace: ${total.toLocaleString("en-US")} tokens`),
    );
  });

  it("takes the WASM backend where only a software adapter exists, and says why", async () => {
    assert.equal(await panel.data("lc-backend", "backend"), "ort");
    assert.notEqual(await panel.part("lc-backend").getAttribute("title"), "");
  });

  it("answers a question with a verified citation", async () => {
    await panel.ask(question);
    assert.equal(await panel.answer(question), definition.answer);
    assert.deepEqual(await panel.citations(), [{ path: definition.path, line: definition.line, verified: true }]);
  });

  it("opens the editor at the cited line, selected and highlighted", async () => {
    await panel.part("lc-citation").click();
    await checkRevealed(workbench);
    await workbench.screenshot("playground", process.env.UPDATE_SCREENSHOT === "1" ? "media" : undefined);
  });

  it("reuses the cached prefix for a follow-up", async () => {
    await panel.ask(followUp);
    assert.equal(await panel.answer(followUp), followUpAnswer);
    const reused = await panel.number("lc-reused", "tokens");
    assert.ok(reused > 1000, `${reused} tokens reused`);
  });

  it("draws a heatmap whose brightest file cell in the answer's row is the cited line", async () => {
    await panel.newQuestion();
    await panel.ask(question);
    await panel.answer(question);
    await checkHeatmap(panel);
  });

  it("applies a RoPE setting to the limit, the curve and the next run", async () => {
    await panel.part("lc-tab-inspect").click();
    const before = { limit: await panel.number("lc-limit", "tokens"), curve: await curve(panel) };
    await panel.choose("lc-rope-kind", "yarn");
    const factor = panel.part("lc-rope-factor").locator("input");
    await factor.fill("4");
    await factor.press("Enter");
    await panel.waitFor("a longer limit", async () => (await panel.number("lc-limit", "tokens")) > before.limit);
    assert.equal(await panel.data("lc-limit", "because"), "rope scaling");
    assert.notEqual(await curve(panel), before.curve);
    await panel.newQuestion();
    await panel.ask(question);
    await panel.answer(question);
    assert.match(await panel.cost(), /YaRN ×4/);
    // Cached keys were rotated with the old frequencies, so none of them may be used again.
    assert.equal(await panel.number("lc-reused", "tokens"), 0);
    await panel.part("lc-tab-inspect").click();
    await panel.choose("lc-rope-kind", "auto");
  });

  it("runs the same on WebGPU when it is chosen", async () => {
    await panel.chooseBackend("wgsl");
    await panel.newQuestion();
    await panel.ask(question);
    assert.equal(await panel.answer(question), definition.answer);
    assert.deepEqual(await panel.citations(), [{ path: definition.path, line: definition.line, verified: true }]);
    assert.match(await panel.cost(), /WebGPU/);
    await checkHeatmap(panel);
    await panel.part("lc-tab-ask").click();
    await panel.part("lc-citation").click();
    await checkRevealed(workbench);
  });

  it("stops in mid-prefill, keeps what was computed, and finishes the rest while the panel is hidden", async () => {
    await forgetCache(panel);
    await panel.newQuestion();
    await panel.ask(followUp);
    await panel.stopWhile(/prefill [1-9]/);
    await panel.waitFor("the run to stop", async () => (await panel.phase()) === "idle");
    assert.equal(await panel.data("lc-failure", "code"), "aborted");
    await panel.ask(followUp);
    await panel.waitFor("the prefill", async () => (await panel.phase()) === "prefill");
    await workbench.runCommand("Help: Welcome");
    await workbench.runCommand("Long Context: Open Playground");
    assert.equal(await panel.answer(followUp), followUpAnswer);
    assert.ok((await panel.number("lc-reused", "tokens")) > 0);
  });

  it("starts again by itself when the GPU device is lost in mid-prefill", async () => {
    await forgetCache(panel);
    await panel.newQuestion();
    await panel.ask(question);
    await panel.waitFor("the prefill to be under way", async () =>
      /prefill [1-9]/.test(await panel.part("lc-progress").innerText()),
    );
    await workbench.runCommand("Long Context (debug): Lose GPU Device");
    await panel.waitFor("the run to start again", async () =>
      (await panel.part("lc-progress").innerText()).includes("the GPU device was lost"),
    );
    assert.equal(await panel.answer(question), definition.answer);
    assert.match(await panel.cost(), /WebGPU/);
  });

  it("keeps finished runs when it is closed and opened again", async () => {
    await panel.part("lc-tab-ask").click();
    const runs = await panel.number("lc-runs", "count");
    assert.ok(runs >= 5, `${runs} runs`);
    await workbench.runCommand("View: Close All Editors");
    panel = await PlaygroundPage.open(workbench);
    await panel.part("lc-tab-ask").click();
    assert.equal(await panel.number("lc-runs", "count"), runs);
  });
});

async function checkRevealed(workbench: Workbench): Promise<void> {
  await workbench.until("the cited line", 30_000, async () =>
    (await workbench.cursorText()).includes(`Ln ${definition.line},`) ? true : undefined,
  );
  assert.match(await workbench.cursorText(), new RegExp(`\\(${definition.answer.length} selected\\)`));
  assert.ok(await workbench.page.locator(".tab.active", { hasText: "backoff.ts" }).first().isVisible());
  const marks = workbench.page.locator('.view-overlays [class*="TextEditorDecorationType"]');
  await workbench.until("the highlight", 30_000, async () => ((await marks.count()) > 0 ? true : undefined));
}

async function checkHeatmap(panel: PlaygroundPage): Promise<void> {
  await panel.part("lc-inspect").click();
  await panel.part("lc-heatmap").waitFor({ timeout: 240_000 });
  await panel.waitFor("the answer's row", async () => (await panel.table("lc-answer-table")).length > 0);
  const [rows, columns] = [await panel.number("lc-heatmap", "rows"), await panel.number("lc-heatmap", "columns")];
  assert.ok(rows > 1 && rows <= 512 && columns > 1 && columns <= 512, `${rows} x ${columns} cells`);
  const places = (await panel.table("lc-answer-table")).map(([, to = ""]) => to).filter((to) => /:\d/.test(to));
  const [, path = "", first = "", last = first] = /^(.*):(\d+)(?:-(\d+))?/.exec(places[0] ?? "") ?? [];
  assert.equal(path, definition.path, places.join("; "));
  assert.ok(Number(first) <= definition.line && definition.line <= Number(last), places.join("; "));
}

/** Describes the wavelength curve in numbers. */
async function curve(panel: PlaygroundPage): Promise<string> {
  return (await panel.frameLocator("lc-curve").getAttribute("aria-label")) ?? "";
}

/** A change of the rotation empties the cache, so that the next run computes its whole prompt. */
async function forgetCache(panel: PlaygroundPage): Promise<void> {
  await panel.part("lc-tab-inspect").click();
  await panel.choose("lc-rope-kind", (await panel.data("lc-rope-kind", "value")) === "auto" ? "linear" : "auto");
}
