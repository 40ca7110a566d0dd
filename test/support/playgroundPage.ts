/** The panel as a person uses it: by its labels and buttons, inside the workbench of test/support/workbench.ts. */
import type { Frame, Locator } from "playwright-core";
import type { Workbench } from "./workbench.ts";

/** Opening a model and reading a prompt on a busy machine without a GPU; how fast is not what these tests are about. */
const slowMs = 240_000;

export interface ShownCitation {
  path: string;
  line: number;
  verified: boolean;
}

export class PlaygroundPage {
  private readonly workbench: Workbench;
  private readonly frame: Frame;

  private constructor(workbench: Workbench, frame: Frame) {
    this.workbench = workbench;
    this.frame = frame;
  }

  /** Opens the panel by its command and waits until its engine is ready. */
  static async open(workbench: Workbench): Promise<PlaygroundPage> {
    await workbench.runCommand("Long Context: Open Playground");
    const page = new PlaygroundPage(workbench, await workbench.panelFrame());
    await page.engineReady();
    return page;
  }

  part(testId: string): Locator {
    return this.frame.locator(`[data-testid="${testId}"]`).first();
  }

  frameLocator(selector: string): Locator {
    return this.frame.locator(selector).first();
  }

  async data(testId: string, name: string): Promise<string | undefined> {
    return (await this.part(testId).getAttribute(`data-${name}`)) ?? undefined;
  }

  async number(testId: string, name: string): Promise<number> {
    const text = await this.data(testId, name);
    if (text === undefined || text === "") throw new Error(`${testId} has no data-${name}`);
    return Number(text);
  }

  async engineReady(): Promise<void> {
    await this.waitFor("the engine", async () => {
      if (await this.part("lc-engine-failed").isVisible()) throw new Error(await this.part("lc-engine-failed").innerText());
      return (await this.data("lc-status", "engine")) === "ready";
    });
  }

  async waitFor(what: string, look: () => Promise<boolean>): Promise<void> {
    await this.workbench.until(what, slowMs, async () => ((await look()) ? true : undefined));
  }

  /** Leaves the conversation: the next question is no follow-up. */
  async newQuestion(): Promise<void> {
    await this.part("lc-tab-ask").click();
    const button = this.part("lc-new");
    if (await button.isVisible()) await button.click();
  }

  /** Types a question and presses Enter. */
  async ask(question: string): Promise<void> {
    await this.part("lc-tab-ask").click();
    await this.part("lc-question").locator("textarea").fill(question);
    await this.part("lc-question").locator("textarea").press("Enter");
    await this.waitFor(
      "the question to be taken",
      async () => (await this.phase()) !== "idle" || (await this.answerTo(question)) !== undefined,
    );
  }

  /** Presses Stop in the moment in which the line of the run says something: in two steps the run could end between them. */
  async stopWhile(says: RegExp): Promise<void> {
    await this.waitFor(`a run that says ${says.source}`, () =>
      this.part("lc-progress").evaluate((line, pattern) => {
        const stop = document.querySelector('[data-testid="lc-stop"]');
        if (!(stop instanceof HTMLElement) || !new RegExp(pattern).test(line.textContent ?? "")) return false;
        stop.click();
        return true;
      }, says.source),
    );
  }

  /** `idle`, or what a run is doing. */
  async phase(): Promise<string> {
    return (await this.data("lc-progress", "phase")) ?? "idle";
  }

  /** The finished answer to a question that was asked. */
  async answer(question: string): Promise<string> {
    await this.waitFor(`the answer to "${question}"`, async () => {
      if (await this.part("lc-failure").isVisible()) throw new Error(await this.part("lc-failure").innerText());
      return (await this.answerTo(question)) !== undefined;
    });
    return (await this.answerTo(question)) ?? "";
  }

  async citations(): Promise<ShownCitation[]> {
    return this.frame.locator('[data-testid="lc-citation"]').evaluateAll((chips) =>
      chips.map((chip) => ({
        path: chip.getAttribute("data-path") ?? "",
        line: Number(chip.getAttribute("data-line")),
        verified: chip.getAttribute("data-verified") === "true",
      })),
    );
  }

  /** What the finished run cost and with which settings, as shown below the answer. */
  async cost(): Promise<string> {
    return this.frame.locator(".answer-block .meta").first().innerText();
  }

  /** Picks an entry of one of the panel's lists. */
  async choose(testId: string, value: string): Promise<void> {
    const list = this.part(testId);
    await list.click();
    await list.locator(`vscode-option[value="${value}"]`).click();
    await this.waitFor(`${testId} = ${value}`, async () => (await this.data(testId, "value")) === value);
  }

  /** Chooses the backend through the header's chip, waits until the engine runs on it, and closes the chip. */
  async chooseBackend(backend: "auto" | "wgsl" | "ort"): Promise<void> {
    await this.part("lc-backend").click();
    await this.choose("lc-backend-choice", backend);
    await this.part("lc-backend").click();
    if (backend !== "auto")
      await this.waitFor(`backend ${backend}`, async () => (await this.data("lc-backend", "backend")) === backend);
    await this.engineReady();
  }

  /** Words of a table, row by row. */
  async table(testId: string): Promise<string[][]> {
    return this.frame
      .locator(`[data-testid="${testId}"] tbody tr`)
      .evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll("td, th")].map((cell) => cell.textContent.trim())));
  }

  private async answerTo(question: string): Promise<string | undefined> {
    const block = this.frame.locator(".answer-block[data-run]").first();
    if (!(await block.isVisible()) || (await block.locator("h2").innerText()) !== question) return undefined;
    return block.locator('[data-testid="lc-answer"]').innerText();
  }
}
