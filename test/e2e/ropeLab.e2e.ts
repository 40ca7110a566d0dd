/** The RoPE lab in a real VS Code: a scaling previewed beside the exact answer, and a LongRoPE search from its start to a file. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { PlaygroundPage } from "../support/playgroundPage.ts";
import { Workbench } from "../support/workbench.ts";

const question = "Where is `retryCeiling` defined?";
const answer = "export const retryCeiling = 45731;";
/** Just above what the bundled model was trained on, so that a list is judged in seconds. */
const targetTokens = 2100;

describe("the RoPE lab", () => {
  let workbench: Workbench;
  let panel: PlaygroundPage;

  before(async () => {
    workbench = await Workbench.open("ferry", { machine: { "longContext.prefixCache.maxGiB": 0 } });
    panel = await PlaygroundPage.open(workbench);
  });

  after(async () => {
    await workbench.close();
  });

  it("has nothing to preview before a question was answered", async () => {
    await panel.part("lc-tab-inspect").click();
    await panel.waitFor("the lab", () => panel.part("lc-preview").isVisible());
    assert.notEqual(await panel.part("lc-preview-start").getAttribute("disabled"), null);
  });

  it("previews a scaling on the context in the cache, and says that it is approximate", async () => {
    await panel.ask(question);
    assert.equal(await panel.answer(question), answer);
    await panel.part("lc-tab-inspect").click();
    await panel.choose("lc-rope-kind", "yarn");
    await panel.part("lc-preview-start").click();
    await panel.waitFor("the preview", async () => (await panel.data("lc-preview", "status")) === "ready");
    const shown = await panel.part("lc-preview-answer").innerText();
    assert.match(shown, /YaRN ×2, approximate/);
    assert.match(shown, /deeper layers still hold what the old rotation computed/);
    assert.match(await panel.part("lc-preview-before").innerText(), /45731/);
    assert.equal(await panel.part("lc-preview-exact").isVisible(), false);
  });

  it("runs it exactly, with nothing of the preview reused, and shows both side by side", async () => {
    await panel.part("lc-run-exactly").click();
    await panel.waitFor("the exact answer", async () => {
      await panel.part("lc-tab-inspect").click();
      return panel.part("lc-preview-exact").isVisible();
    });
    await panel.part("lc-tab-ask").click();
    const exact = await panel.answer(question);
    assert.match(await panel.cost(), /YaRN ×2/);
    assert.equal(await panel.number("lc-reused", "tokens"), 0);
    await panel.part("lc-tab-inspect").click();
    const shown = await panel.part("lc-preview-exact").innerText();
    assert.ok(shown.startsWith("YaRN ×2, exact") && shown.includes(exact), shown);
    assert.match(await panel.part("lc-preview-answer").innerText(), /approximate/);
    await workbench.screenshot("rope-lab");
  });

  it("searches LongRoPE's factors on the workspace, can be stopped, and goes on", async () => {
    // The fixture alone is shorter than a text of the search.
    const lines = Array.from({ length: 60 }, (_, index) => `export const berth${index} = ${index * 37};\n`);
    writeFileSync(join(workbench.folder, "src", "berths.ts"), lines.join(""));
    await panel.waitFor("the new file's tokens", async () => {
      await panel.part("lc-tab-ask").click();
      return (await panel.number("lc-total", "tokens")) > targetTokens;
    });
    await panel.part("lc-tab-inspect").click();
    await panel.choose("lc-rope-kind", "longrope");
    await panel.part("lc-search").locator("summary").click();
    for (const [name, value] of Object.entries({ targetTokens, population: 4, iterations: 1 })) {
      const field = panel.part(`lc-search-${name}`).locator("input");
      await field.fill(String(value));
      await field.press("Enter");
    }
    await panel.part("lc-search-start").click();
    const judged = async (): Promise<number> => {
      const status = panel.part("lc-search-status");
      if ((await panel.data("lc-search-status", "status")) === "failed") throw new Error(await status.innerText());
      return panel.number("lc-search-status", "judged");
    };
    await panel.waitFor("a list to be judged", async () => (await judged()) >= 1);
    await panel.part("lc-search-stop").click();
    await panel.waitFor("the stop", async () => (await panel.data("lc-search-status", "status")) === "idle");
    const before = await judged();
    assert.ok(before >= 1 && before < 6, `${before} lists`);
    await panel.part("lc-search-resume").click();
    await panel.waitFor("the end", async () => (await judged()) === 6 && !(await panel.part("lc-search-stop").isVisible()));
    const perplexity = async (testId: string): Promise<number> => Number(await panel.part(testId).innerText());
    assert.ok((await perplexity("lc-search-best")) > 1);
    assert.ok((await perplexity("lc-search-best")) < (await perplexity("lc-search-plain")) * 1.5);
    await workbench.screenshot("rope-search");
  });

  it("makes the result the setting, and writes it as JSON where it is told to", async () => {
    await panel.part("lc-search-use").click();
    await panel.waitFor("the limit", async () => (await panel.number("lc-limit", "tokens")) === targetTokens);
    const file = join(workbench.folder, "found.json");
    await workbench.saveAs(file, ".json", () => panel.part("lc-search-export").click());
    const rope = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    assert.equal(rope["rope_type"], "longrope");
    assert.equal((rope["long_factor"] as number[]).length, 32);
  });

  it("keeps the search for a panel that is opened again", async () => {
    await workbench.runCommand("View: Close Editor");
    panel = await PlaygroundPage.open(workbench);
    await panel.part("lc-tab-inspect").click();
    await panel.waitFor("the saved search", async () => (await panel.number("lc-search-status", "judged")) === 6);
    assert.equal(await panel.part("lc-search-use").isVisible(), true);
  });
});
