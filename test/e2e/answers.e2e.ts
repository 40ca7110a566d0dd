/** Daily work with an answer in a real VS Code: asked again, edited, taken into files, kept, and read in a narrow panel. */
import assert from "node:assert/strict";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { PlaygroundPage } from "../support/playgroundPage.ts";
import { Workbench } from "../support/workbench.ts";

const question = "Where is `retryCeiling` defined?";
const answer = "export const retryCeiling = 45731;";
const other = "What is the value of `MAX_ATTEMPTS`?";
const otherAnswer = "const MAX_ATTEMPTS = 9;";
/** The quote stands in both: one is a copy of the other. */
const files = ["src/net/backoff.ts", "src/net/patience.ts"];

describe("working with an answer", () => {
  let workbench: Workbench;
  let panel: PlaygroundPage;

  before(async () => {
    workbench = await Workbench.open("ferry", {
      prepare: (folder) => copyFileSync(join(folder, "src/net/backoff.ts"), join(folder, "src/net/patience.ts")),
    });
    // A file that is no part of the prompt, with the cursor where it was clicked; the panel then lies in front of it.
    await workbench.page.locator(".explorer-folders-view .monaco-list-row", { hasText: "ignored.log" }).dblclick();
    await workbench.page.locator(".editor-instance .view-line").first().click();
    await workbench.page.keyboard.press("Control+End");
    panel = await PlaygroundPage.open(workbench);
  });

  after(async () => {
    await workbench.close();
  });

  /** The id of the run on screen, once it is another one than `before`. */
  async function shownRun(before?: string): Promise<string> {
    const block = panel.frameLocator(".answer-block[data-run]");
    await panel.waitFor(
      "another run",
      async () => (await block.isVisible()) && (await block.getAttribute("data-run")) !== before,
    );
    return (await block.getAttribute("data-run")) ?? "";
  }

  async function noteSays(pattern: RegExp): Promise<void> {
    await panel.waitFor(`a note that says ${pattern.source}`, async () => {
      if (await panel.part("lc-notice").isVisible()) throw new Error(await panel.part("lc-notice").innerText());
      return (await panel.part("lc-note").isVisible()) && pattern.test(await panel.part("lc-note").innerText());
    });
  }

  async function tabIsOpen(name: string): Promise<boolean> {
    return (await workbench.page.locator(".tab", { hasText: name }).count()) > 0;
  }

  it("reads the answer out as whole sentences, in one live region", async () => {
    await panel.ask(question);
    assert.equal(await panel.answer(question), answer);
    const said = panel.part("lc-said");
    await panel.waitFor("the end of the answer", async () => ((await said.textContent()) ?? "").includes("Answered with 2"));
    const texts = await said.locator("p").allTextContents();
    assert.equal(texts.at(-1), `${answer}\nAnswered with 2 verified citations.`);
    const regions = await panel.frameLocator("body").evaluate((body) => body.querySelectorAll('[aria-live="polite"]').length);
    assert.equal(regions, 1);
  });

  it("regenerates in the same place, and keeps the old answer among the saved runs", async () => {
    const first = await shownRun();
    await panel.part("lc-regenerate").click();
    await shownRun(first);
    assert.equal(await panel.answer(question), answer);
    assert.equal(await panel.number("lc-runs", "count"), 2);
    assert.equal(await panel.frameLocator(".turns").isVisible(), false, "the old answer is no earlier turn");
  });

  it("edits the question of an earlier turn, which cuts the conversation there", async () => {
    await panel.ask(other);
    assert.equal(await panel.answer(other), otherAnswer);
    const last = await shownRun();
    await panel.part("lc-edit-earlier").click();
    const box = panel.part("lc-question").locator("textarea");
    await panel.waitFor("the question in the box", async () => (await box.inputValue()) === question);
    assert.match(await panel.part("lc-editing").innerText(), /replaces question 1, and 1 later turn leaves/);
    assert.ok(await box.evaluate((element) => element.matches(":focus")), "the keyboard is in the box");
    await box.fill(other);
    await box.press("Enter");
    await shownRun(last);
    assert.equal(await panel.answer(other), otherAnswer);
    assert.equal(await panel.frameLocator(".turns").isVisible(), false);
    assert.equal(await panel.number("lc-runs", "count"), 4);
  });

  it("opens all citations, and steps through them by command", async () => {
    await panel.newQuestion();
    await panel.ask(question);
    assert.equal(await panel.answer(question), answer);
    assert.deepEqual((await panel.citations()).map(({ path }) => path).sort(), files);
    await panel.part("lc-open-all").click();
    await noteSays(/^2 files opened\.$/);
    for (const path of files) assert.ok(await tabIsOpen(path.split("/").at(-1) ?? ""), path);
    assert.equal(await workbench.page.locator(".editor-group-container").count(), 2, "the panel, and one column beside it");
    await workbench.runCommand("Long Context: Open Next Citation");
    await noteSays(/^Citation 1 of 2: /);
    await workbench.runCommand("Long Context: Open Next Citation");
    await noteSays(/^Citation 2 of 2: /);
    assert.match(await workbench.cursorText(), /Ln 5, .*\(34 selected\)/);
  });

  it("reaches every action with the keyboard, and shows where it is", async () => {
    await panel.part("lc-question").locator("textarea").click();
    const reached: string[] = [];
    for (let presses = 0; presses < 30 && !reached.includes("lc-inspect"); presses++) {
      await workbench.page.keyboard.press("Tab");
      reached.push(await panel.frameLocator("body").evaluate(() => document.activeElement?.getAttribute("data-testid") ?? ""));
    }
    const actions = ["lc-regenerate", "lc-edit", "lc-copy", "lc-insert", "lc-open-all", "lc-export", "lc-inspect"];
    assert.deepEqual(
      reached.filter((testId) => actions.includes(testId)),
      actions,
    );
    assert.ok(
      reached.includes("lc-answer") && reached.filter((testId) => testId === "lc-citation").length === 2,
      reached.join(" "),
    );
    const outline = panel.part("lc-citation").evaluate((chip) => {
      chip.focus();
      return getComputedStyle(chip).outlineStyle;
    });
    assert.equal(await outline, "solid");
  });

  it("inserts the quote where the user worked last, not where a citation was shown", async () => {
    await panel.part("lc-insert").click();
    await noteSays(/^Inserted the quote of src\/net\/\w+\.ts:5 at ignored\.log:2\.$/);
    await workbench.runCommand("File: Save");
    const path = join(workbench.folder, "ignored.log");
    await panel.waitFor("the saved file", () => Promise.resolve(readFileSync(path, "utf8").includes(answer)));
    assert.equal(readFileSync(path, "utf8"), `a line that .gitignore hides\n${answer}`);
  });

  it("says so where the editor is read-only, and leaves it as it is", async () => {
    await workbench.runCommand("File: Set Active Editor Read-only in Session");
    await panel.part("lc-insert").click();
    await panel.waitFor("the notice", () => panel.part("lc-notice").isVisible());
    assert.match(
      await panel.part("lc-notice").innerText(),
      /The editor of ignored\.log is read-only\. Click into a file that can be written/,
    );
    assert.equal(await panel.part("lc-notice").getAttribute("role"), "alert");
    await panel.part("lc-notice").locator("vscode-button").click();
  });

  it("exports the run as Markdown", async () => {
    const path = join(workbench.folder, "answer.md");
    await workbench.saveAs(path, ".md", () => panel.part("lc-export").click());
    const markdown = readFileSync(path, "utf8");
    assert.ok(markdown.includes(`## Question\n\n\`\`\`text\n${question}\n\`\`\``), markdown);
    assert.ok(markdown.includes(`## Answer\n\n\`\`\`text\n${answer}\n\`\`\``), markdown);
    for (const file of files) assert.match(markdown, new RegExp(`\`${file}:5\`: found word for word`));
    assert.match(markdown, /\| Backend \| WASM: /);
    assert.match(markdown, /\| Sampling \| temperature 0: always the likeliest token \|/);
    assert.match(markdown, /\| Prefill \| [\d.]+ s \|/);
    assert.match(markdown, /\| `assets\/pier\.bin` \| 0 \| binary content|Files left out|Looked at/);
    await noteSays(/^Exported as Markdown\.$/);
    await workbench.screenshot("answers");
  });

  it("finds the run with its settings after a reload, and deletes one after a question", async () => {
    await workbench.page.reload();
    await workbench.page.locator(".monaco-workbench .statusbar").waitFor({ timeout: 60_000 });
    // The window brings the panel back by itself, as soon as the extension has started.
    await workbench.panelFrame(240_000);
    panel = await PlaygroundPage.open(workbench);
    await panel.part("lc-tab-ask").click();
    assert.equal(await panel.number("lc-runs", "count"), 5);
    await panel.part("lc-runs").locator("summary").click();
    await panel.part("lc-delete-run").click();
    await workbench.page.locator(".monaco-dialog-box .monaco-button", { hasText: "Delete" }).click();
    await panel.waitFor("the run to go", async () => (await panel.number("lc-runs", "count")) === 4);
    await panel.frameLocator(`[data-testid="lc-saved-run"]:has-text("MAX_ATTEMPTS")`).click();
    assert.equal(await panel.answer(other), otherAnswer);
    await panel.part("lc-run-settings").locator("summary").click();
    const settings = await panel.part("lc-run-settings").innerText();
    for (const part of ["Model", "temperature 0", "constrained to the files", "128 tokens", "Prefill"])
      assert.ok(settings.includes(part), `${part} in ${settings}`);
  });

  it("adds to a long text without touching what is there", async () => {
    const work = await panel.frameLocator("body").evaluate(async (body) => {
      const text = Array.from({ length: 10_000 }, (_, index) => `line ${index}`).join("\n");
      const element = Object.assign(document.createElement("lc-text"), { text: text.slice(0, -9) });
      body.append(element);
      const nodes = [...element.querySelectorAll("*")].length;
      const changes: MutationRecord[] = [];
      const observer = new MutationObserver((records) => changes.push(...records));
      observer.observe(element, { childList: true, characterData: true, subtree: true });
      Object.assign(element, { text });
      await new Promise(requestAnimationFrame);
      observer.disconnect();
      const isWhole = [...element.children].map((block) => block.textContent).join("\n") === text;
      element.remove();
      return { nodes, changes: changes.length, isWhole };
    });
    assert.deepEqual(work, { nodes: 50, changes: 1, isWhole: true });
  });

  it("cuts nothing off in a panel of 280 pixels", async () => {
    await workbench.runCommand("View: Close Editors in Other Groups");
    await workbench.runCommand("View: Toggle Primary Side Bar Visibility");
    await workbench.page.setViewportSize({ width: 328, height: 1000 });
    await panel.waitFor("the narrow panel", () => panel.frameLocator("body").evaluate(() => innerWidth <= 280));
    const cut = await panel.frameLocator("body").evaluate(() => {
      const isCode = (element: Element): boolean => element.closest("lc-text, pre") !== null;
      const parts = [...document.querySelectorAll<HTMLElement>("main *")].filter((part) => !isCode(part) && !part.closest("svg"));
      const offending = parts.filter((part) => {
        const { right, width } = part.getBoundingClientRect();
        const isClipped = part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).overflowX !== "visible";
        return width > 0 && (right > innerWidth + 1 || isClipped);
      });
      const scrolls = document.documentElement.scrollWidth > document.documentElement.clientWidth;
      return {
        scrolls,
        offending: offending.map((part) => `${part.localName}.${part.className}: ${part.textContent?.slice(0, 40)}`),
      };
    });
    await workbench.screenshot("answers-narrow");
    assert.deepEqual(cut, { scrolls: false, offending: [] });
  });
});
