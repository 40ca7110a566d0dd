/** The Budget view in a real VS Code as a person uses it: rows, check boxes, Fit with its preview, a quick fix, an export. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Locator } from "playwright-core";
import { Workbench } from "../support/workbench.ts";

const slowMs = 120_000;
const undoLevels = "Long Context: Undo Last Change of Levels";

describe("the budget view", () => {
  let workbench: Workbench;

  before(async () => {
    workbench = await Workbench.open("ferry");
    // Two equal files: a finding with a quick fix.
    const text = Array.from({ length: 40 }, (_, i) => `export const crossing${i} = "pier ${i} to pier ${i + 1}";\n`).join("");
    writeFileSync(join(workbench.folder, "src", "crossings.ts"), text);
    writeFileSync(join(workbench.folder, "src", "crossingsOld.ts"), text);
  });

  after(async () => {
    await workbench.close();
  });

  it("opens from the meter in the status bar and shows folders with tokens", async () => {
    await meter(workbench).click({ timeout: slowMs });
    const src = rowOf(workbench, "src, folder");
    await src.waitFor({ timeout: slowMs });
    assert.match((await src.getAttribute("aria-label")) ?? "", /^src, folder, .* tokens?, .* percent of the window, included/);
    assert.match(await src.innerText(), /[\d.]+K? · (<?[\d.]+) %/);
    const exact = (await meter(workbench).getAttribute("aria-label")) ?? "";
    assert.match(exact, /^The pack uses .* of a window of 128 thousand tokens; 8 thousand tokens are reserved for the answer/);
  });

  it("changes the meter when a file is unchecked, by keyboard and mouse", async () => {
    const [before] = await used(workbench);
    const tools = rowOf(workbench, "tools, folder");
    await tools.locator(".custom-view-tree-node-item-checkbox").click();
    await workbench.until("a smaller pack", slowMs, async () => ((await used(workbench))[0] < before ? true : undefined));
    await rowOf(workbench, "tools, folder, would be").waitFor({ timeout: slowMs });
    await rowOf(workbench, "tools, folder").click();
    await workbench.page.keyboard.press("Space");
    await workbench.until("the pack as it was", slowMs, async () => ((await used(workbench))[0] === before ? true : undefined));
    // The row the keyboard is on, which is not the selected one.
    await workbench.until("src to be left out", slowMs, async () => {
      // While its rows are drawn anew the tree takes no key.
      await workbench.page.keyboard.press("Home");
      await workbench.page.keyboard.press("Alt+4");
      return rowOf(workbench, "src, folder, would be")
        .waitFor({ timeout: 10_000 })
        .then(
          () => true,
          () => undefined,
        );
    });
    assert.match((await rowOf(workbench, "tools, folder").getAttribute("aria-label")) ?? "", /included$/);
    await workbench.page.keyboard.press("Alt+1");
    await workbench.until("the pack as it was", slowMs, async () => ((await used(workbench))[0] === before ? true : undefined));
    // A level that a person set is kept by a fit, so it is taken back.
    await workbench.runCommand(undoLevels);
    await rowOf(workbench, "src, folder, would be").waitFor({ timeout: slowMs });
    await workbench.runCommand(undoLevels);
    await workbench.until("the pack as it was", slowMs, async () => ((await used(workbench))[0] === before ? true : undefined));
  });

  it("says why a row is at its level", async () => {
    await rowOf(workbench, "tools, folder").click();
    await workbench.runCommand("Long Context: Why Is It at This Level?");
    const list = quickRows(workbench);
    await list.first().waitFor({ timeout: slowMs });
    assert.ok((await list.allInnerTexts()).some((text) => text.trim().length > 10));
    await workbench.page.keyboard.press("Escape");
  });

  it("filters, says so, and is cleared by the row that says it", async () => {
    await workbench.runCommand("Long Context: Filter the Budget…");
    await type(workbench, "net/", "Filter the Budget");
    const filter = rowOf(workbench, "Filtered by net/");
    await filter.waitFor({ timeout: slowMs });
    await rowOf(workbench, "backoff.ts").waitFor({ timeout: slowMs });
    assert.equal(await rowOf(workbench, "fares.ts").count(), 0);
    await filter.click();
    await rowOf(workbench, "tools, folder").waitFor({ timeout: slowMs });
  });

  it("fits a window: preview with reasons first, then levels, then undo", async () => {
    const [before, windowBefore] = await used(workbench);
    await workbench.runCommand("Long Context: Fit to Window…");
    await pick(workbench, "Custom…");
    await type(workbench, "1000", "(1 of 3)");
    await type(workbench, "200", "(2 of 3)");
    await type(workbench, "where is retryCeiling", "(3 of 3)");
    const preview = quickRows(workbench);
    await workbench.until("the preview", slowMs, async () =>
      (await preview.allInnerTexts()).some((text) => text.includes("Apply")) ? true : undefined,
    );
    const texts = (await preview.allInnerTexts()).join("\n");
    assert.match(texts, /of 800 tokens: \d+ kept, \d+ outlined, \d+ by name, \d+ dropped/);
    assert.equal((await used(workbench))[0], before, "nothing changes before Apply");
    await workbench.screenshot("budget-fit");
    await pick(workbench, "Apply");
    await workbench.until("the fit", slowMs, async () => {
      const [tokens, window] = await used(workbench);
      return window === 1000 && tokens <= 800 ? true : undefined;
    });
    await workbench.page
      .locator(".notification-list-item", { hasText: "Fit to 1K" })
      .getByRole("button", { name: "Undo" })
      .click();
    await workbench.until("the pack and the window as they were", slowMs, async () => {
      const [tokens, window] = await used(workbench);
      return tokens === before && window === windowBefore ? true : undefined;
    });
  });

  it("offers a quick fix for a duplicate file", async () => {
    const [before] = await used(workbench);
    await workbench.runCommand("Problems: Focus on Problems View");
    const entry = workbench.page.locator(".markers-panel .monaco-list-row", { hasText: "src/crossings" }).first();
    const tab = workbench.page.locator(".tab.active", { hasText: /crossings/ });
    await entry.waitFor({ timeout: slowMs });
    await workbench.until("the file of the problem", slowMs, async () => {
      // A list that is drawn anew between the two clicks opens nothing.
      if (!(await tab.isVisible())) await entry.dblclick();
      return (await tab.isVisible()) ? true : undefined;
    });
    const menu = workbench.page.locator(".action-widget .monaco-list-row", { hasText: /exclude/i }).first();
    await workbench.until("the quick fix", slowMs, async () => {
      // Pressed again in an open menu, the key would run what is selected there.
      if (!(await workbench.page.locator(".action-widget").isVisible())) await workbench.page.keyboard.press("Control+.");
      return menu.waitFor({ timeout: 5000 }).then(
        () => true,
        () => undefined,
      );
    });
    await menu.click();
    await workbench.until("a smaller pack", slowMs, async () => ((await used(workbench))[0] < before ? true : undefined));
    await workbench.runCommand(undoLevels);
    await workbench.until("the pack as it was", slowMs, async () => ((await used(workbench))[0] === before ? true : undefined));
  });

  it("exports the pack to a file", async () => {
    const path = join(workbench.folder, "..", "pack.md");
    await workbench.saveAs(path, "ferry-pack.md", async () => {
      await workbench.runCommand("Long Context: Export Pack…");
      await pick(workbench, "Markdown");
    });
    const text = readFileSync(path, "utf8");
    assert.ok(text.includes("src/net/backoff.ts") && text.includes("retryCeiling = 45731"));
    rmSync(path);
  });

  it("fits a real repository: the sources of this extension, with git's rows", async () => {
    const project = join(mkdtempSync(join(tmpdir(), "lcp-own-")), "long-context-playground");
    try {
      mkdirSync(project);
      for (const part of [
        "engine",
        "extension",
        "webview",
        "test/unit",
        "test/support",
        "media/specimens",
        "README.md",
        "package.json",
      ])
        cpSync(part, join(project, part), { recursive: true });
      git(project, "init", "-q");
      git(project, "add", ".");
      git(
        project,
        "-c",
        "user.name=Test",
        "-c",
        "user.email=test@localhost",
        "commit",
        "-q",
        "-m",
        "The sources of the extension",
      );
      appendFileSync(join(project, "README.md"), "\nA line that is not committed yet.\n");
      const address = new URL(workbench.page.url());
      address.search = `?folder=${encodeURIComponent(project)}`;
      await workbench.page.goto(address.href);
      await workbench.page.locator(".monaco-workbench .statusbar").waitFor({ timeout: slowMs });
      await meter(workbench).click({ timeout: slowMs });
      const engine = rowOf(workbench, "engine, folder");
      await engine.waitFor({ timeout: slowMs });
      await workbench.until("exact counts", slowMs, async () =>
        /^[\d.]+[KM]? used/.test((await meter(workbench).innerText()).trim()) ? true : undefined,
      );
      await workbench.runCommand("Long Context: Fit to Window…");
      await pick(workbench, "200K");
      await type(workbench, "8000", "(2 of 3)");
      await type(workbench, "Where is RoPE scaled?", "(3 of 3)");
      await pick(workbench, "Apply");
      await workbench.until("the fit", slowMs, async () => {
        const [tokens, window] = await used(workbench);
        return window === 200_000 && tokens <= 192_000 && tokens > 150_000 ? true : undefined;
      });
      await rowOf(workbench, "Working tree changes").waitFor({ timeout: slowMs });
      await workbench.until("the open folder", slowMs, async () => {
        // A row that is drawn anew meanwhile loses the key.
        if ((await engine.getAttribute("aria-expanded")) !== "true") {
          await engine.click();
          await workbench.page.keyboard.press("ArrowRight");
        }
        return (await rowOf(workbench, "kernels, folder").isVisible()) ? true : undefined;
      });
      await workbench.screenshot("budget", process.env.UPDATE_SCREENSHOT === "1" ? "media" : undefined);
    } finally {
      rmSync(join(project, ".."), { recursive: true, force: true });
    }
  });
});

function git(folder: string, ...args: string[]): void {
  execFileSync("git", ["-C", folder, ...args]);
}

function meter(workbench: Workbench): Locator {
  return workbench.page.locator(".statusbar-item", { hasText: / used · .* reserved · / }).first();
}

/** Exact tokens of the pack and of the window, from the meter's hover text. */
async function used(workbench: Workbench): Promise<[tokens: number, window: number]> {
  const label = (await meter(workbench).locator("a").first().getAttribute("aria-label")) ?? "";
  const text = (await meter(workbench).innerText()).replaceAll(/\s+/g, " ");
  return [
    shortNumber(/([\d.]+[KM]?) used/.exec(text)?.[1]),
    spokenNumber(/a window of ([\d.]+(?: thousand| million)?)/.exec(label)?.[1]),
  ];
}

function shortNumber(text = ""): number {
  return Number.parseFloat(text) * (text.endsWith("K") ? 1e3 : text.endsWith("M") ? 1e6 : 1);
}

function spokenNumber(text = ""): number {
  return Number.parseFloat(text) * (text.endsWith("thousand") ? 1e3 : text.endsWith("million") ? 1e6 : 1);
}

/** A row of the Budget tree by the beginning of its sentence. */
function rowOf(workbench: Workbench, sentence: string): Locator {
  return workbench.page.locator(`.sidebar .monaco-list-row[aria-label^="${sentence}"]`).first();
}

function quickRows(workbench: Workbench): Locator {
  return workbench.page.locator(".quick-input-list .monaco-list-row");
}

async function pick(workbench: Workbench, label: string): Promise<void> {
  await quickRows(workbench).filter({ hasText: label }).first().click({ timeout: slowMs });
}

/** Answers the input box with that in its title, once it is open. */
async function type(workbench: Workbench, text: string, title: string): Promise<void> {
  await workbench.page.locator(".quick-input-widget .quick-input-title", { hasText: title }).waitFor({ timeout: slowMs });
  const input = workbench.page.locator(".quick-input-widget .quick-input-box input").first();
  const list = quickRows(workbench).first();
  // An input box has no list; the pick before it may not be gone yet.
  await list.waitFor({ state: "hidden", timeout: slowMs });
  await input.fill(text, { timeout: slowMs });
  await input.press("Enter");
}
