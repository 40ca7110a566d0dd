/** The panel as people set up their machine: with more contrast, in the system's colours, with less motion, and with text from right to left. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { PlaygroundPage } from "../support/playgroundPage.ts";
import { Workbench } from "../support/workbench.ts";

const comment = "// המעבורת יוצאת בשעה שבע";
const definition = "export const departureHour = 7;";

describe("the panel", () => {
  let workbench: Workbench;
  let panel: PlaygroundPage;

  before(async () => {
    workbench = await Workbench.open("ferry", {
      prepare: (folder) => {
        mkdirSync(join(folder, "src/ui"), { recursive: true });
        writeFileSync(join(folder, "src/ui/departure.ts"), `${comment}\n${definition}\n`);
      },
    });
    panel = await PlaygroundPage.open(workbench);
  });

  after(async () => {
    await workbench.close();
  });

  function style(selector: string, property: string): Promise<string> {
    return panel.frameLocator(selector).evaluate((element, name) => getComputedStyle(element).getPropertyValue(name), property);
  }

  async function chooseTheme(theme: string): Promise<void> {
    await workbench.runCommand("Preferences: Color Theme");
    await workbench.page.locator(".quick-input-widget input").first().fill(theme);
    await workbench.page.locator(".quick-input-list .monaco-list-row", { hasText: theme }).first().click();
  }

  it("writes a comment from right to left, and code as ever", async () => {
    const question = "How is `departureHour` documented?";
    await panel.ask(question);
    assert.equal(await panel.answer(question), comment);
    assert.equal(await style(".citations .quote", "direction"), "rtl");
    const where = "Where is `departureHour` defined?";
    await panel.ask(where);
    assert.equal(await panel.answer(where), definition);
    assert.equal(await style(".citations .quote", "direction"), "ltr");
    await workbench.screenshot("appearance-rtl");
  });

  for (const theme of ["Dark High Contrast", "Light High Contrast"]) {
    it(`has edges in ${theme}`, async () => {
      await chooseTheme(theme);
      await panel.waitFor("the theme", () =>
        panel
          .frameLocator("body")
          .evaluate(
            (body, isLight) =>
              body.classList.contains("vscode-high-contrast") &&
              body.classList.contains("vscode-high-contrast-light") === isLight,
            theme.startsWith("Light"),
          ),
      );
      for (const part of [".answer", ".chip", ".citation"]) {
        assert.equal(await style(part, "border-top-style"), "solid", part);
        assert.notEqual(await style(part, "border-top-color"), await style("body", "background-color"), part);
      }
      // No quote, and that is not told by a colour alone.
      assert.equal(await style(".citation.attended", "border-top-style"), "dashed");
      assert.equal(await style('.tabs button[aria-selected="true"]', "outline-style"), "solid");
      await workbench.screenshot(`appearance-${theme.replaceAll(" ", "-").toLowerCase()}`);
    });
  }

  it("shows in the system's colours which tab is chosen, and how full the window is", async () => {
    await chooseTheme("Light 2026");
    await workbench.page.emulateMedia({ forcedColors: "active", reducedMotion: "reduce" });
    const chosen = await style('.tabs button[aria-selected="true"]', "border-bottom-color");
    assert.notEqual(chosen, await style('.tabs button[aria-selected="false"]', "border-bottom-color"));
    await workbench.screenshot("appearance-forced-colors");
  });

  it("turns nothing where less motion is wanted", async () => {
    const question = "What is the value of `MAX_ATTEMPTS`?";
    await panel.newQuestion();
    await panel.ask(question);
    await panel.waitFor("a run", async () => (await panel.phase()) !== "idle");
    const rings = await panel
      .frameLocator("body")
      .evaluate(() => [...document.querySelectorAll(".ring")].map((ring) => getComputedStyle(ring).display));
    assert.ok(
      rings.every((display) => display === "none"),
      rings.join(),
    );
    assert.equal(await panel.answer(question), "const MAX_ATTEMPTS = 9;");
  });
});
