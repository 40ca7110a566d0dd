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

  /** Of a text and what is behind it, by WCAG 2. */
  function contrast(selector: string): Promise<number> {
    return panel.frameLocator(selector).evaluate((element) => {
      const numbers = (color: string): number[] => (color.match(/[\d.]+/g) ?? []).map(Number);
      const luminance = (color: string): number => {
        const [red = 0, green = 0, blue = 0] = numbers(color).map((value) => {
          const share = value / 255;
          return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
      };
      let behind: Element | null = element;
      while (behind && numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
      const back = luminance(getComputedStyle(behind ?? document.body).backgroundColor);
      const text = luminance(getComputedStyle(element).color);
      return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
    });
  }

  /** How every ring is displayed that turns while a question is answered; the answer may come before anyone could look. */
  async function ringsWhile(question: string, answer: string): Promise<Set<string>> {
    const body = panel.frameLocator("body");
    await panel.newQuestion();
    const rings = await body.evaluateHandle((element) => {
      const seen = new Set<string>();
      const watch = new MutationObserver(() => {
        for (const ring of element.querySelectorAll(".ring")) seen.add(getComputedStyle(ring).display);
      });
      watch.observe(element, { subtree: true, childList: true });
      return { seen, watch };
    });
    await panel.ask(question);
    assert.equal(await panel.answer(question), answer);
    return new Set(
      await rings.evaluate(({ seen, watch }) => {
        watch.disconnect();
        return [...seen];
      }),
    );
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
      for (const part of [".answer", ".chip", ".citation", ".citation.attended", ".citations .quote", ".attended-lines .quote"])
        assert.ok((await contrast(part)) >= 4.5, `${part} in ${theme}: ${await contrast(part)}`);
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
    await workbench.page.emulateMedia({ forcedColors: "none", reducedMotion: "no-preference" });
    const turning = await ringsWhile("What is the value of `MAX_ATTEMPTS`?", "const MAX_ATTEMPTS = 9;");
    assert.ok(turning.size > 0 && !turning.has("none"), [...turning].join());
    await workbench.page.emulateMedia({ reducedMotion: "reduce" });
    const still = await ringsWhile("Where is `MAX_ATTEMPTS` defined?", "const MAX_ATTEMPTS = 9;");
    assert.deepEqual([...still], ["none"]);
  });
});
