/** A strange folder: everything that only reads works before it is trusted; git is started, and settings of its own count, only afterwards. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Workbench } from "../support/workbench.ts";

const slowMs = 120_000;

describe("a folder that is not trusted", () => {
  let workbench: Workbench;

  before(async () => {
    workbench = await Workbench.open("ferry", {
      trust: true,
      prepare: (folder) => {
        const git = (...args: string[]) =>
          execFileSync("git", ["-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", ...args]);
        git("init", "-q");
        git("add", "-A");
        git("commit", "-qm", "the ferry leaves");
        mkdirSync(join(folder, ".vscode"), { recursive: true });
        // A workspace that wants its model and its tokenizer read from where it says.
        const settings = {
          "longContext.tokenizerPath": "/etc/hostname",
          "longContext.model.path": "/etc",
          "longContext.window": 64_000,
        };
        writeFileSync(join(folder, ".vscode", "settings.json"), JSON.stringify(settings));
      },
    });
  });

  after(async () => {
    await workbench.close();
  });

  it("is counted and shown, without starting git and without obeying its paths", async () => {
    await workbench.page.locator(".statusbar-item", { hasText: "Restricted Mode" }).waitFor({ timeout: slowMs });
    const meter = workbench.page.locator(".statusbar-item", { hasText: / used · .* reserved · / }).first();
    await meter.click({ timeout: slowMs });
    await row("src, folder").waitFor({ timeout: slowMs });
    const label = (await meter.locator("a").first().getAttribute("aria-label")) ?? "";
    assert.match(label, /of a window of 64 thousand tokens/, "what a window is, is no matter of trust");
    await row("1 left out of").or(row("2 left out of")).or(row("3 left out of")).first().click();
    await workbench.page.keyboard.press("ArrowRight");
    await row("git:, file, left out: git is not run in a workspace that is not trusted").waitFor({ timeout: slowMs });
    assert.equal(await row("Recent commits").count(), 0);
  });

  it("shows git's rows once it is trusted", async () => {
    await workbench.runCommand("Workspaces: Manage Workspace Trust");
    await workbench.page
      .locator(".workspace-trust-editor .monaco-button", { hasText: /^Trust$/ })
      .first()
      .click({ timeout: slowMs });
    await row("Recent commits, from git").waitFor({ timeout: slowMs });
  });

  /** A row of the Budget tree by the beginning of its sentence. */
  function row(sentence: string) {
    return workbench.page.locator(`.sidebar .monaco-list-row[aria-label^="${sentence}"]`).first();
  }
});
