// node test/run.mjs [tier] [name]: every tier in order, or one tier, or the test files of one tier whose path contains `name`.
// Tiers: lint, types, unit, gpu (twice: once with the smallest limits WebGPU allows), host, e2e; bench only when it is named.
// Ends with "N passed, N failed".
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureBuilt, ensureInstalled } from "../extension/dev/ensureBuilt.mjs";
import { ensureChromium } from "./support/chromium.mjs";

process.chdir(join(dirname(fileURLToPath(import.meta.url)), ".."));

const tiers = {
  lint: () =>
    whole("lint", [
      ["node_modules/eslint/bin/eslint.js", ".", "--max-warnings=0"],
      ["node_modules/prettier/bin/prettier.cjs", "--check", "."],
    ]),
  types: () => whole("types", [["build.mjs", "--types"]]),
  unit: (name) => nodeTests("unit", name),
  gpu: (name) => [...nodeTests("gpu", name), ...nodeTests("gpu", name, { LCP_GPU_LIMITS: "minimum" })],
  host: (name) => hostTests(name),
  e2e: (name) => nodeTests("e2e", name),
  bench: (name) => nodeTests("bench", name),
};
/** Tiers that need Chromium: for its software GPU, or as the browser of the browser-hosted VS Code. */
const withChromium = new Set(["gpu", "host", "e2e", "bench"]);
/** Speed says nothing about right and wrong, so it is measured only when asked for. */
const onRequest = new Set(["bench"]);
/** Two files at once: what one core computes leaves the other idle. Benches want the machine to themselves, a host its timeouts. */
const sharesCores = new Set(["unit", "gpu"]);
/** Tiers that run, measure or look into the packaged extension; in a full run it is built once. Single unit tests are content with any build. */
const withPackage = new Set(["unit", "host", "e2e", "bench"]);

const [only, name = ""] = process.argv.slice(2);
if (only !== undefined && !(only in tiers)) {
  process.stderr.write(`unknown tier ${only}; there are ${Object.keys(tiers).join(", ")}\n`);
  process.exit(2);
}

/** Own folder per run, so that two runs do not delete each other's bundles. */
const out = `dist/test/run-${process.pid}`;
const counts = join(out, "results.ndjson");
const failures = [];
let passed = 0;
let packaged = false;
try {
  ensureInstalled();
  for (const tier of only === undefined ? Object.keys(tiers).filter((tier) => !onRequest.has(tier)) : [only]) runTier(tier);
} catch (error) {
  failures.push(`the run itself: ${error.message}`);
}
rmSync(out, { recursive: true, force: true });
for (const failure of failures) process.stdout.write(`failed: ${failure}\n`);
process.stdout.write(`${passed} passed, ${failures.length} failed\n`);
process.exit(failures.length === 0 ? 0 : 1);

function runTier(tier) {
  const began = Date.now();
  if (withChromium.has(tier)) process.env.CHROMIUM = ensureChromium();
  if ((tier === "unit" && name !== "") || only === "gpu") ensureBuilt();
  else if (!packaged && (withPackage.has(tier) || only === undefined) && tier !== "lint" && tier !== "types") {
    packaged = node(["build.mjs", "--package"]);
    process.env.LCP_PACKAGED = packaged ? "1" : "";
    if (!packaged) failures.push(`${tier}: the extension does not build`);
  }
  if (!packaged && withPackage.has(tier) && !(tier === "unit" && name !== "")) return;
  const results = tiers[tier](name);
  const bad = results.filter((result) => !result.passed);
  passed += results.length - bad.length;
  failures.push(...bad.map((result) => `${tier}: ${result.name}`));
  const seconds = ((Date.now() - began) / 1000).toFixed(0);
  process.stdout.write(`${tier}: ${results.length - bad.length} passed, ${bad.length} failed in ${seconds} s\n`);
}

/** Several commands that count as one test. */
function whole(what, commands) {
  return [{ name: what, passed: commands.every((command) => node(command)) }];
}

/** Bundles the tests of a tier and runs them with node:test, one process per file. */
function nodeTests(tier, wanted, env = {}) {
  if (!bundle(tier, wanted)) return [{ name: "the tests do not build", passed: false }];
  const files = readdirSync(out, { recursive: true })
    .filter((file) => file.endsWith(`.${tier}.mjs`))
    .map((file) => join(out, file));
  if (files.length === 0) return [{ name: `no ${tier} test file contains "${wanted}"`, passed: false }];
  if (env.LCP_GPU_LIMITS !== undefined)
    process.stdout.write(`the ${tier} tier again with LCP_GPU_LIMITS=${env.LCP_GPU_LIMITS}\n`);
  const reporters = [
    ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
    ...["--test-reporter=./test/support/countReporter.mjs", `--test-reporter-destination=${counts}`],
  ];
  const clean = node(
    ["--enable-source-maps", "--test", `--test-concurrency=${sharesCores.has(tier) ? 2 : 1}`, ...reporters, ...files],
    env,
  );
  return readResults(clean);
}

/** Bundles the tests that run inside the extension host, and runs them there. */
function hostTests(wanted) {
  if (!bundle("host", "")) return [{ name: "the tests do not build", passed: false }];
  return readResults(node(["test/host/runInHost.mjs", join(out, "host"), counts, wanted]));
}

function bundle(tier, wanted) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  return node(["build.mjs", "--tests", tier, "--only-tests", `--match=${wanted}`, `--tests-out=${out}`]);
}

/** What the tests wrote; `clean` is whether their process ended well, which must agree with it. */
function readResults(clean) {
  const lines = existsSync(counts) ? readFileSync(counts, "utf8").split("\n") : [];
  const results = lines.filter((line) => line !== "").map((line) => JSON.parse(line));
  if (results.length === 0) return [{ name: "no test reported a result", passed: false }];
  if (!clean && results.every((result) => result.passed))
    results.push({ name: "the tests passed, yet their process failed", passed: false });
  return results.map(({ name, passed: good, file = "" }) => ({
    name: `${file.replace(`${process.cwd()}/`, "")} ${name}`,
    passed: good,
  }));
}

function node(args, env = {}) {
  return spawnSync(process.execPath, args, { stdio: "inherit", env: { ...process.env, ...env } }).status === 0;
}
