/** Attention in a real VS Code: chosen in the header, refused where it cannot be, and told what it kept; the same for cached keys and values. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { PlaygroundPage } from "../support/playgroundPage.ts";
import { Workbench } from "../support/workbench.ts";

const question = "Where is `retryCeiling` defined?";
const answer = "export const retryCeiling = 45731;";

describe("attention in the panel", () => {
  let workbench: Workbench;
  let panel: PlaygroundPage;

  before(async () => {
    workbench = await Workbench.open("ferry");
    panel = await PlaygroundPage.open(workbench);
  });

  after(async () => {
    await workbench.close();
  });

  it("says where a pattern is chosen that WASM cannot do so, and refuses the question with what would", async () => {
    assert.equal(await panel.data("lc-backend", "backend"), "ort");
    await openSettings(panel);
    await chooseSinks(panel);
    assert.match(await panel.part("lc-attention-refused").innerText(), /sinks.*WASM.*flash.*WebGPU/);
    assert.match(await panel.part("lc-attention-gives-up").innerText(), /does not recall evicted text/);
    assert.equal(await panel.data("lc-attention-exact", "exact"), "false");
    await panel.part("lc-question").locator("textarea").fill(question);
    await panel.part("lc-question").locator("textarea").press("Enter");
    await panel.waitFor("the refusal", async () => (await panel.data("lc-failure", "code")) === "bad-argument");
    assert.match(await panel.part("lc-failure").innerText(), /WebGPU/);
  });

  it("answers with sinks and a window on WebGPU, and says how much of the attention they kept", async () => {
    await panel.chooseBackend("wgsl");
    assert.equal(await panel.part("lc-attention-refused").isVisible(), false);
    await panel.ask(question);
    await panel.answer(question);
    assert.match(await panel.cost(), /WebGPU.* sinks:4,256 /);
    const [mean, least] = [await panel.number("lc-kept-mass", "mean"), await panel.number("lc-kept-mass", "least")];
    assert.ok(least > 0 && least <= mean && mean < 1, `kept ${mean}, in the worst head ${least}`);
    await openSettings(panel);
    assert.equal(await panel.number("lc-attention-kept-mass", "mean"), mean);
    await workbench.screenshot("attention-sinks");
  });

  it("answers with keys and values in 8 bits, and says how far they are off", async () => {
    await panel.chooseBackend("wgsl");
    await openSettings(panel);
    await panel.choose("lc-attention-kind", "flash");
    assert.equal(await panel.data("lc-attention-exact", "exact"), "true");
    await panel.choose("lc-attention-keys-format", "q8");
    await panel.choose("lc-attention-values-format", "q8");
    await panel.engineReady();
    await panel.newQuestion();
    await panel.ask(question);
    assert.equal(await panel.answer(question), answer);
    const [keys, values] = [await panel.number("lc-cache-error", "keys"), await panel.number("lc-cache-error", "values")];
    // Half a step of 1/127 of the largest in 32, relative to their root mean square: about half a percent for numbers like these.
    for (const error of [keys, values]) assert.ok(error > 0.0005 && error < 0.03, `off by ${error}`);
    assert.equal(await panel.part("lc-kept-mass").isVisible(), false);
    await workbench.screenshot("attention-q8");
  });

  it("checks an answer by leaving out what it cites, and shows the run's attention afterwards", async () => {
    await panel.part("lc-check-start").click();
    await panel.waitFor("the check", async () => (await panel.data("lc-check", "status")) === "ready");
    assert.match(
      await panel.part("lc-check-result").innerText(),
      /^With these lines: [01]\.\d+ per token; without: 0\.\d+: the answer depends on them.*\. Geometric mean over \d+ tokens/,
    );
    await panel.part("lc-inspect").click();
    await panel.part("lc-heatmap").waitFor({ timeout: 240_000 });
    await panel.part("lc-tab-ask").click();
  });

  it("says before a follow-up is asked how little of it would be computed", async () => {
    await panel.part("lc-question").locator("textarea").fill("What is the value of `MAX_ATTEMPTS`?");
    await panel.waitFor("the plan", () => panel.part("lc-plan").isVisible());
    const [computed, prompt] = [await panel.number("lc-plan", "recomputed"), await panel.number("lc-plan", "prompt")];
    assert.ok(computed > 0 && computed < prompt / 4, `${computed} of ${prompt}`);
    assert.match(await panel.part("lc-plan").innerText(), /re-prefill \d+ of 1,\d+ tokens/);
  });

  it("plans the prompt with every policy and cache format, in memory and time", async () => {
    await panel.part("lc-tab-inspect").click();
    await panel.part("lc-attention-plan-start").click();
    await panel.waitFor("the plan", async () => {
      if ((await panel.data("lc-attention-plan", "status")) === "failed")
        throw new Error(await panel.part("lc-attention-plan").innerText());
      return (await panel.data("lc-attention-plan", "status")) === "ready";
    });
    assert.match(
      await panel.part("lc-attention-plan-chosen").innerText(),
      /flash, keys and values in q8.*: fits\..* [KMGT]FLOP in about /,
    );
    const rows = await panel.table("lc-attention-plan-table");
    assert.ok(rows.length > 10, `${rows.length} policies`);
    for (const [policy = "", ...cells] of rows) {
      assert.equal(cells.length, 4, policy);
      for (const [column, cell] of cells.entries()) {
        // flash3 has a cache format of its own.
        if (policy === "flash3" && column > 0) assert.equal(cell, "–");
        else assert.match(cell, /^[\d.,]+ [kM]B · [\d.,]+ (ms|s|min)/, policy);
      }
    }
    await panel.part("lc-attention-plan-table").scrollIntoViewIfNeeded();
    await workbench.screenshot("attention-plan");
  });

  it("keeps what was chosen for a panel that is opened again", async () => {
    await workbench.runCommand("View: Close Editor");
    panel = await PlaygroundPage.open(workbench);
    assert.match(await panel.part("lc-chip-attention").innerText(), /^flash · q8 cache/);
  });
});

async function openSettings(panel: PlaygroundPage): Promise<void> {
  const chip = panel.part("lc-chip-attention");
  if ((await chip.getAttribute("aria-expanded")) !== "true") await chip.click();
}

async function chooseSinks(panel: PlaygroundPage): Promise<void> {
  await panel.choose("lc-attention-kind", "sinks");
  const window = panel.part("lc-attention-window").locator("input");
  await window.fill("256");
  await window.press("Enter");
  await panel.waitFor("sinks:4,256", async () => /^sinks:4,256/.test(await panel.part("lc-chip-attention").innerText()));
}
