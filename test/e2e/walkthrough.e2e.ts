/** The walkthrough as VS Code draws it: its steps, their pictures, and a step that is done when its work was. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Workbench } from "../support/workbench.ts";

describe("the walkthrough", () => {
  let workbench: Workbench;

  before(async () => {
    workbench = await Workbench.open("ferry");
  });

  after(async () => {
    await workbench.close();
  });

  it("opens by its command with its steps, and a step is done when its view was seen", async () => {
    const { page } = workbench;
    await workbench.runCommand("Long Context: Open Walkthrough");
    const step = (title: string) => page.locator(".getting-started-step", { hasText: title }).first();
    await step("Count your workspace").waitFor({ timeout: 60_000 });
    assert.equal(await page.locator(".gettingStartedContainer .getting-started-step:visible").count(), 7);
    const done = () => step("Count your workspace").locator("[data-done-step-id]").first().getAttribute("aria-checked");
    assert.equal(await done(), "false");
    await workbench.screenshot("walkthrough");
    await page.getByRole("button", { name: "Show the Budget" }).first().click();
    await page.locator(".pane-header", { hasText: "Budget" }).first().waitFor({ timeout: 60_000 });
    await workbench.until("the step to be done", 60_000, async () => ((await done()) === "true" ? true : undefined));
  });
});
