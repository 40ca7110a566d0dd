/** Named by extensionTestsPath: the extension host calls run(), and exits with 0, or with 1 when it rejects. */
import { appendFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

export async function run(): Promise<void> {
  const results = process.env.LCP_HOST_RESULTS;
  if (results === undefined) throw new Error("LCP_HOST_RESULTS is not set: start these tests with node test/run.mjs host");
  const report = (name: string, passed: boolean, detail = ""): void =>
    appendFileSync(results, `${JSON.stringify({ name, passed, detail })}\n`);
  const { default: Mocha } = await import("mocha");
  const mocha = new Mocha({
    ui: "bdd",
    color: false,
    timeout: 150_000,
    ...(process.env.LCP_HOST_GREP ? { grep: process.env.LCP_HOST_GREP } : {}),
  });
  const files = readdirSync(__dirname).filter((file) => file.endsWith(".host.js") && file !== "index.host.js");
  for (const file of files) mocha.addFile(join(__dirname, file));
  const failures = await new Promise<number>((resolve) => {
    const runner = mocha.run(resolve);
    runner.on("pass", (test) => report(test.fullTitle(), true));
    // Hooks fail under a name of their own, so they are counted too.
    runner.on("fail", (test, error: Error) => report(test.fullTitle(), false, error.stack ?? error.message));
    runner.on("pending", (test) => report(`${test.fullTitle()} (skipped)`, false));
  });
  if (failures > 0) throw new Error(`${failures} failed`);
}
