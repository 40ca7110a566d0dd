// node test/host/runInHost.mjs <bundles> <results> [name]: runs mocha inside the extension host of a real VS Code, on a copy of the
// ferry workspace. `bundles` holds index.host.js; results are written there by it, because the host's console is not formatted.
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, installHost, startHost } from "../../extension/dev/vscodeHost.mjs";
import { launchBrowser } from "../support/browser.mjs";

const [bundles, results, name = ""] = process.argv.slice(2);
const limitMs = 480_000;
const say = (message) => process.stdout.write(`${message}\n`);
const scratch = mkdtempSync(join(tmpdir(), "lcp-host-"));
const workspace = join(scratch, "ferry");
cpSync("test/fixtures/workspaces/ferry", workspace, { recursive: true });
writeFileSync(join(workspace, "ignored.log"), "a line that .gitignore hides\n");

const root = process.cwd();
const host = installHost(root, say);
const port = await freePort();
const server = await startHost(host, {
  port,
  dataDir: join(scratch, "data"),
  // Without this flag a released VS Code ignores the two payload entries below, silently.
  flags: ["--vscode-option", "enable-smoke-test-driver"],
  env: { LCP_HOST_RESULTS: resolve(results), LCP_HOST_GREP: name, LCP_HOST_ROOT: root },
});
mkdirSync("test/output", { recursive: true });
const log = "test/output/host-tests.log";
writeFileSync(log, "");
const browser = await launchBrowser();
let code = "no answer";
try {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const finished = new Promise((done) => void page.exposeFunction("codeAutomationExit", done));
  await page.exposeFunction("codeAutomationLog", (kind, args) => appendFileSync(log, `${kind}: ${args.map(String).join(" ")}\n`));
  const remote = (path) => `vscode-remote://127.0.0.1:${port}${path}`;
  const payload = [
    ["extensionDevelopmentPath", remote(root)],
    ["extensionTestsPath", remote(resolve(bundles, "index.host.js"))],
    ["skipWelcome", "true"],
  ];
  await page.goto(
    `${server.url}/?folder=${encodeURIComponent(workspace)}&payload=${encodeURIComponent(JSON.stringify(payload))}`,
  );
  code = await Promise.race([finished, sleep(limitMs, `still running after ${limitMs / 1000} s`, { ref: false })]);
  if (code !== 0) await page.screenshot({ path: "test/output/host-tests.png" });
} finally {
  await browser.close();
  await server.stop();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
}
const lines = existsSync(results) ? readFileSync(results, "utf8").split("\n") : [];
for (const { name: test, passed, detail } of lines.filter((line) => line !== "").map((line) => JSON.parse(line))) {
  say(passed ? `✔ ${test}` : `✖ ${test}\n${detail}`);
}
if (code !== 0) say(`the extension host ended with ${code}; its log is ${log}, its window test/output/host-tests.png`);
process.exit(code === 0 ? 0 : 1);
