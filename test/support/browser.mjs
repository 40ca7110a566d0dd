// One way to start Chromium for the tests that need a workbench.
import { chromium } from "playwright-core";

/** `CHROMIUM` is set by test/run.mjs. WebGPU on a machine without a GPU needs the unsafe switch and then runs on SwiftShader. */
export async function launchBrowser() {
  const executablePath = process.env.CHROMIUM;
  if (!executablePath) throw new Error("CHROMIUM is not set — run this through node test/run.mjs");
  return chromium.launch({
    executablePath,
    headless: true,
    args: ["--no-sandbox", "--enable-unsafe-webgpu", "--disable-background-networking"],
  });
}
