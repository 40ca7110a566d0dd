// node test/run.mjs [tier] [name]: builds the matching tests and runs them. Tiers: unit, gpu.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const [tier = "unit", name = ""] = process.argv.slice(2);
rmSync("dist/test/" + tier, { recursive: true, force: true });
const build = spawnSync(process.execPath, ["build.mjs", "--tests", tier, "--only-tests", `--match=${name}`], { stdio: "inherit" });
if (build.status !== 0) process.exit(1);
const files = readdirSync("dist/test", { recursive: true })
  .map((file) => join("dist/test", file))
  .filter((file) => file.endsWith(`.${tier}.mjs`) && file.includes(name));
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" });
process.exit(run.status ?? 1);
