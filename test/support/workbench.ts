/** Drives a real VS Code window in headless Chromium, with the packaged extension installed as a user would. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Browser, Frame, Page } from "playwright-core";
import { freePort, installHost, installVsix, startHost, type RunningHost } from "../../extension/dev/vscodeHost.mjs";
import { launchBrowser } from "./browser.mjs";
import { until } from "./until.ts";

const vsix = "long-context-playground.vsix";
const outputFolder = "test/output";

export interface OpenOptions {
  /** Workspace trust is on, and the folder is not trusted. */
  trust?: boolean;
  /** Changes the copy of the workspace before it is opened. */
  prepare?: (folder: string) => void;
  /** Settings of this machine, e.g. the address of a hub. */
  machine?: Readonly<Record<string, unknown>>;
}

export class Workbench {
  readonly page: Page;
  /** Copy of the fixture workspace that is open. */
  readonly folder: string;
  /** The extension's own folder for all workspaces. */
  readonly storage: string;
  private readonly scratch: string;
  private readonly server: RunningHost;
  private readonly browser: Browser;

  private constructor(parts: { page: Page; folder: string; scratch: string; server: RunningHost; browser: Browser }) {
    this.page = parts.page;
    this.folder = parts.folder;
    this.scratch = parts.scratch;
    const id = "long-context-playground.long-context-playground";
    this.storage = join(parts.scratch, "data", "user", "User", "globalStorage", id);
    this.server = parts.server;
    this.browser = parts.browser;
  }

  /** Installs the .vsix into a fresh profile and opens a copy of `test/fixtures/workspaces/<fixture>` with one ignored file. */
  static async open(
    fixture: string,
    { trust = false, prepare = () => undefined, machine = {} }: OpenOptions = {},
  ): Promise<Workbench> {
    const scratch = mkdtempSync(join(tmpdir(), "lcp-e2e-"));
    const folder = join(scratch, fixture);
    const dataDir = join(scratch, "data");
    cpSync(join("test/fixtures/workspaces", fixture), folder, { recursive: true });
    writeFileSync(join(folder, "ignored.log"), "a line that .gitignore hides\n");
    const host = installHost(process.cwd(), (message) => process.stderr.write(`${message}\n`));
    installVsix(host, dataDir, resolve(vsix));
    prepare(folder);
    mkdirSync(join(dataDir, "user", "Machine"), { recursive: true });
    // How long reading takes is for the tests of that to ask about: here it depends on what else the machine does.
    const settings = { "longContext.ask.coldPrefixSeconds": 0, ...machine };
    writeFileSync(join(dataDir, "user", "Machine", "settings.json"), JSON.stringify(settings));
    const server = await startHost(host, { port: await freePort(), dataDir, trust });
    const browser = await launchBrowser();
    const page = await browser.newPage({ viewport: { width: 1680, height: 1000 } });
    const workbench = new Workbench({ page, folder, scratch, server, browser });
    await page.goto(`${server.url}/?folder=${encodeURIComponent(folder)}`);
    await page.locator(".monaco-workbench .statusbar").waitFor({ timeout: 60_000 });
    return workbench;
  }

  /** Runs a command of the palette by its full title; tries again, because the palette does not refresh when an extension arrives late. */
  async runCommand(title: string): Promise<void> {
    const row = this.page.locator(".quick-input-list .monaco-list-row", { hasText: title }).first();
    const input = this.page.locator(".quick-input-widget input").first();
    await this.until(`the command "${title}"`, 60_000, async () => {
      // Only in the palette, which may close by itself just now: in the panel, Escape stops a run.
      if (await input.isVisible()) await input.press("Escape", { timeout: 3000 }).catch(isTimeout);
      await this.page.keyboard.press("F1");
      await input.waitFor({ timeout: 10_000 });
      await input.fill(`>${title}`);
      return row.click({ timeout: 3000 }).then(() => true, isTimeout);
    });
  }

  /**
   * Chooses `path` in the save dialog that `open` brings up with a suggestion that ends with `suggested`.
   * The dialog changes its field by itself while it reads a folder; what is typed then is spoilt, so it is dismissed and opened again.
   */
  async saveAs(path: string, suggested: string, open: () => Promise<void>): Promise<void> {
    const input = this.page.locator(".quick-input-widget input").first();
    await this.until(`the file ${path}`, 240_000, async () => {
      if (await input.isVisible()) await this.page.keyboard.press("Escape");
      await open();
      await this.until("the save dialog", 60_000, async () =>
        (await input.inputValue({ timeout: 60_000 })).endsWith(suggested) ? true : undefined,
      );
      await this.page.waitForTimeout(1000);
      await input.fill(path);
      await this.page.waitForTimeout(500);
      await input.press("Enter");
      return until("the file", 10_000, () => Promise.resolve(existsSync(path) || undefined)).catch(() => undefined);
    });
  }

  /** The panel's own document, the inner of two nested frames; waits until the panel has drawn itself. */
  async panelFrame(timeoutMs = 60_000): Promise<Frame> {
    return this.until("the panel", timeoutMs, async () => {
      for (const frame of this.page.frames()) {
        if (
          !frame.isDetached() &&
          (await frame.evaluate(() => document.querySelector('[data-testid="lc-status"]') !== null).catch(isGone))
        )
          return frame;
      }
      return undefined;
    });
  }

  /** What is shown while the pointer rests on the status bar entry that contains `part`. */
  async statusBarHover(part: string): Promise<string> {
    await this.page.locator(".statusbar-item", { hasText: part }).first().hover({ timeout: 60_000 });
    const hover = this.page.locator(".workbench-hover").first();
    await hover.waitFor({ timeout: 60_000 });
    return hover.innerText();
  }

  /** What VS Code says about the cursor, for example "Ln 5, Col 1 (37 selected)". */
  async cursorText(): Promise<string> {
    return (await this.page.locator('[id="status.editor.selection"]').textContent({ timeout: 15_000 })) ?? "";
  }

  /** As `until`, with a picture of the window when it takes too long. */
  async until<T>(what: string, timeoutMs: number, look: () => Promise<T | undefined>): Promise<T> {
    try {
      return await until(what, timeoutMs, look);
    } catch (error) {
      process.stderr.write(`the window: ${await this.screenshot("failure")}\n`);
      throw error;
    }
  }

  /** Writes a picture of the window and returns its path. */
  async screenshot(name: string, folder = outputFolder): Promise<string> {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `${name}.png`);
    await this.page.screenshot({ path });
    return path;
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.server.stop();
    rmSync(this.scratch, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Not there yet. */
function isTimeout(error: unknown): undefined {
  if (error instanceof Error && error.name === "TimeoutError") return undefined;
  throw error;
}

/** A frame may go away while it is looked at. */
function isGone(error: unknown): false {
  if (error instanceof Error && /detached|closed|navigation|destroyed|Cannot find context/i.test(error.message)) return false;
  throw error;
}
