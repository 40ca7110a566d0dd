/** What is off about a question is said before it is computed, and the user decides: in a real VS Code, with the bundled model. */
import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { PlaygroundPage } from "../support/playgroundPage.ts";
import { Workbench } from "../support/workbench.ts";

const question = "Where is `retryCeiling` defined?";
const definition = "export const retryCeiling = 45731;";
/** Composed here, so that no scanner takes this file for a leak. */
const secret = ["ghp", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"].join("_");

describe("the sheet before a question", () => {
  let workbench: Workbench;
  let panel: PlaygroundPage;

  before(async () => {
    workbench = await Workbench.open("ferry", {
      // As soon as one run was measured, every question takes longer than that.
      prepare: (folder) => {
        mkdirSync(join(folder, ".vscode"));
        writeFileSync(join(folder, ".vscode", "settings.json"), JSON.stringify({ "longContext.ask.coldPrefixSeconds": 0.001 }));
      },
    });
    panel = await PlaygroundPage.open(workbench);
    await panel.waitFor("the count", async () => (await panel.data("lc-total", "state")) === "ready");
  });

  after(async () => {
    await workbench.close();
  });

  const box = () => panel.part("lc-question").locator("textarea");
  const sheet = () => panel.part("lc-sheet");
  const hasFocus = (testId: string): Promise<boolean> =>
    panel.part(testId).evaluate((element) => element === element.ownerDocument.activeElement);

  async function askAndSee(): Promise<void> {
    await box().fill(question);
    await box().press("Enter");
    await panel.waitFor("the sheet", () => sheet().isVisible());
    await panel.waitFor("the keyboard to be on the sheet", () => hasFocus("lc-sheet"));
  }

  it("is not shown where nothing is off", async () => {
    await panel.ask(question);
    assert.equal(await panel.answer(question), definition);
    assert.equal(await sheet().isVisible(), false);
  });

  it("says what does not fit, where a secret is and how long reading takes, and takes the keyboard", async () => {
    writeFileSync(join(workbench.folder, "src", "office.ts"), `// The office's own.\nconst OFFICE_TOKEN = "${secret}";\n`);
    // More than the bundled model's window takes under any scaling that it chooses by itself.
    const berths = Array.from({ length: 4000 }, (_, index) => `export const berth${index} = ${index * 37};\n`);
    writeFileSync(join(workbench.folder, "src", "berths.ts"), berths.join(""));
    await panel.newQuestion();
    await panel.waitFor("the new count", async () => {
      const isReady = (await panel.data("lc-total", "state")) === "ready";
      return isReady && (await panel.number("lc-total", "tokens")) > 20_000;
    });
    await askAndSee();
    assert.equal(await panel.number("lc-sheet-over", "files"), 1);
    assert.match(await panel.part("lc-sheet-over").innerText(), /over the window of 16,384\./);
    assert.ok((await panel.number("lc-sheet-over", "tokens")) > 0);
    const text = await sheet().innerText();
    assert.match(text, /src\/office\.ts:2 looks like a GitHub token \(rule github\)/);
    assert.match(text, /Nothing\s+leaves\s+this machine/);
    assert.ok(!text.includes(secret.slice(4, 14)), "the secret itself is not shown");
    assert.ok((await panel.number("lc-sheet-cold", "seconds")) > 0);
    assert.ok((await panel.number("lc-sheet-cold", "tokens")) > 0);
    assert.equal(await sheet().getAttribute("role"), "dialog");
    await sheet().locator("summary").click();
    assert.match(await sheet().locator("tbody").innerText(), /src\/berths\.ts.*needs [\d,]+ tokens/);
    await workbench.screenshot("sheet");
  });

  it("is cancelled by Escape: nothing is asked, and the question and the keyboard are in the box", async () => {
    await sheet().focus();
    await sheet().press("Escape");
    await panel.waitFor("the sheet to go", async () => !(await sheet().isVisible()));
    await panel.waitFor("the keyboard to be in the box", () => hasFocus("lc-question"));
    assert.equal(await box().inputValue(), question);
    assert.equal(await panel.number("lc-runs", "count"), 1);
  });

  it("leaves the file with the secret out by Enter, and answers from the rest", async () => {
    await askAndSee();
    await sheet().press("Enter");
    assert.equal(await panel.answer(question), definition);
    const out = await panel.table("lc-left-out");
    assert.deepEqual(
      out.map(([path]) => path),
      ["src/berths.ts"],
    );
  });

  it("reads of a file that is too large the lines around what is asked for, says so, and cites them as they are in the file", async () => {
    await panel.newQuestion();
    const asked = "Where is `berth3100` defined?";
    await box().fill(asked);
    await box().press("Enter");
    await panel.waitFor("the sheet", () => sheet().isVisible());
    assert.match(await panel.part("lc-sheet-over").innerText(), /1 of \d+ files would be left out or read only in part:/);
    await sheet().press("Enter");
    assert.equal(await panel.answer(asked), "export const berth3100 = 114700;");
    assert.deepEqual(await panel.citations(), [{ path: "src/berths.ts", line: 3101, verified: true }]);
    const [[path, tokens, why = ""] = []] = await panel.table("lc-left-out");
    assert.equal(path, "src/berths.ts");
    assert.ok(Number(tokens?.replaceAll(",", "")) > 10_000, `${tokens} tokens missing`);
    assert.match(why, /^in part, [\d,]+ of 4,000 lines: seems to define berth3100, but all of it needs [\d,]+ tokens/);
    await panel.part("lc-citation").click();
    await workbench.until("the cited line", 30_000, async () =>
      (await workbench.cursorText()).includes("Ln 3101,") ? true : undefined,
    );
    await workbench.screenshot("sheet-part");
  });

  /** Asks what the sheet asks about again once nothing is over the window any more; only reading is left to agree to. */
  async function agreeToReading(): Promise<void> {
    await panel.waitFor("the sheet without what does not fit", async () => {
      return (await sheet().isVisible()) && !(await panel.part("lc-sheet-over").isVisible());
    });
    assert.ok(await panel.part("lc-sheet-cold").isVisible());
    await panel.part("lc-sheet-ask").click();
    assert.equal(await panel.answer(question), definition);
    assert.equal(await panel.part("lc-left-out").isVisible(), false);
  }

  it("fits the levels to the window by its button, once the preview is applied", async () => {
    rmSync(join(workbench.folder, "src", "office.ts"));
    await panel.newQuestion();
    await panel.part("lc-tab-inspect").click();
    await panel.choose("lc-rope-kind", "model");
    await panel.part("lc-tab-ask").click();
    await askAndSee();
    assert.match(await panel.part("lc-sheet-over").innerText(), /over the window of 2,048\./);
    await panel.part("lc-sheet-fit").click();
    const apply = workbench.page.locator(".quick-input-list .monaco-list-row", { hasText: "Apply" });
    await apply.waitFor();
    assert.ok(await panel.part("lc-sheet-over").isVisible(), "nothing changes before Apply");
    await apply.click();
    await agreeToReading();
  });

  it("widens the window by its button: a scaling is chosen, and everything goes in", async () => {
    const before = await panel.number("lc-total", "tokens");
    const lights = Array.from({ length: 120 }, (_, index) => `export const light${index} = ${index * 41};\n`);
    writeFileSync(join(workbench.folder, "src", "lights.ts"), lights.join(""));
    await panel.newQuestion();
    await panel.waitFor("the new file's tokens", async () => {
      const isReady = (await panel.data("lc-total", "state")) === "ready";
      return isReady && (await panel.number("lc-total", "tokens")) > before + 1000;
    });
    await askAndSee();
    await panel.part("lc-sheet-widen").click();
    await agreeToReading();
    await panel.part("lc-tab-inspect").click();
    assert.equal(await panel.data("lc-rope-kind", "value"), "auto");
  });
});
