/** Kept prefixes in a real VS Code: what a question costs after a reload and after an edit, said before it is asked. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { PlaygroundPage } from "../support/playgroundPage.ts";
import { Workbench } from "../support/workbench.ts";

const question = "Where is `retryCeiling` defined?";
const answer = "export const retryCeiling = 45731;";
const pageTokens = 256;

describe("kept prefixes", () => {
  let workbench: Workbench;
  let panel: PlaygroundPage;
  let promptTokens = 0;

  before(async () => {
    workbench = await Workbench.open("ferry");
    panel = await PlaygroundPage.open(workbench);
  });

  after(async () => {
    await workbench.close();
  });

  /** Types without asking, and reads what asking would compute. */
  async function planned(): Promise<{ recomputed: number; prompt: number }> {
    await panel.part("lc-tab-ask").click();
    await panel.part("lc-question").locator("textarea").fill(question);
    await panel.waitFor(
      "the plan",
      async () => (await panel.part("lc-plan").isVisible()) && (await panel.data("lc-plan", "prompt")) !== undefined,
    );
    return { recomputed: await panel.number("lc-plan", "recomputed"), prompt: await panel.number("lc-plan", "prompt") };
  }

  async function reload(): Promise<void> {
    await workbench.page.reload();
    await workbench.page.locator(".monaco-workbench .statusbar").waitFor({ timeout: 60_000 });
    panel = await PlaygroundPage.open(workbench);
    await panel.waitFor("the count", async () => (await panel.data("lc-total", "state")) === "ready");
  }

  it("lie in the extension's own storage, page by page", async () => {
    await panel.waitFor("the count", async () => (await panel.data("lc-total", "state")) === "ready");
    const plan = await planned();
    assert.equal(plan.recomputed, plan.prompt, "nothing is known yet");
    promptTokens = plan.prompt;
    await panel.ask(question);
    assert.equal(await panel.answer(question), answer);
    assert.equal(await panel.number("lc-reused", "tokens"), 0);
    await panel.waitFor("all pages", () =>
      Promise.resolve(keptPages(workbench).length === Math.floor(promptTokens / pageTokens)),
    );
  });

  it("are used after a reload: nearly nothing is computed, and that is said before", async () => {
    await reload();
    const { recomputed, prompt } = await planned();
    assert.equal(prompt, promptTokens);
    assert.ok(recomputed <= pageTokens, `${recomputed} of ${prompt}`);
    assert.match(await panel.part("lc-plan").innerText(), /restored/);
    await panel.ask(question);
    assert.equal(await panel.answer(question), answer);
    assert.equal(await panel.number("lc-reused", "tokens"), prompt - recomputed);
    assert.match(await panel.part("lc-reused").innerText(), /from an earlier session/);
  });

  it("serve what stands before an edit", async () => {
    const file = join(workbench.folder, "src", "timetable.ts");
    writeFileSync(file, `${readFileSync(file, "utf8")}\nexport const EDITED = 1;\n`);
    await reload();
    const { recomputed, prompt } = await planned();
    assert.ok(recomputed > 0 && recomputed < prompt, `${recomputed} of ${prompt}`);
    await panel.ask(question);
    assert.equal(await panel.answer(question), answer);
    assert.equal(await panel.number("lc-reused", "tokens"), prompt - recomputed);
  });

  it("are deleted by a command, which says how much that was", async () => {
    assert.ok(keptPages(workbench).length > 0);
    await workbench.runCommand("Long Context: Clear Prefix Cache");
    const told = workbench.page.locator(".notification-toast", { hasText: "of kept prefixes were deleted" });
    await told.waitFor({ timeout: 60_000 });
    assert.deepEqual(keptPages(workbench), []);
    await reload();
    const { recomputed, prompt } = await planned();
    assert.equal(recomputed, prompt);
  });
});

/** Sizes of the files of whole pages. */
function keptPages({ storage }: Workbench): number[] {
  const folder = join(storage, "prefixes");
  const names = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: "utf8" }) : [];
  return names.filter((name) => name.endsWith(".kv")).map((name) => statSync(join(folder, name)).size);
}
