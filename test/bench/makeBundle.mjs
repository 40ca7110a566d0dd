// `npm run bench:bundle [folder]`: the product bench as a folder that runs on a machine with a graphics card and nothing else: no network,
// no Node, no packages. `./run.sh` writes results/engine.json in it. Linux x64 only, because the Node that runs this is what is packed.
// Beside the bench lie Node, Dawn, onnxruntime-web's WebGPU build, the Vulkan loader and a software driver for where there is no card;
// they are compressed, and unpacked in place by the first run.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { ensureChromium } from "../support/chromium.mjs";

const LIMIT_MB = 60;

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
process.chdir(root);
if (process.platform !== "linux" || process.arch !== "x64") {
  process.stderr.write("the bundle is made on Linux x64\n");
  process.exit(1);
}
const folder = resolve(process.argv[2] ?? "dist/bench-bundle");
rmSync(folder, { recursive: true, force: true });

const build = [
  "build.mjs",
  "--tests",
  "bench",
  "--only-tests",
  "--match=bench/engine.bench",
  `--tests-out=${join(folder, "app")}`,
];
if (spawnSync(process.execPath, build, { stdio: "inherit" }).status !== 0) process.exit(1);
rmSync(join(folder, "app/bench/engine.bench.mjs.map"), { force: true });

const ort = "node_modules/onnxruntime-web";
const dawn = "node_modules/webgpu";
copy(`${ort}/package.json`);
copy(`${ort}/dist/ort.webgpu.bundle.min.mjs`);
pack(`${ort}/dist/ort-wasm-simd-threaded.asyncify.wasm`, `app/${ort}/dist/ort-wasm-simd-threaded.asyncify.wasm`);
copy(`${dawn}/package.json`);
copy(`${dawn}/index.js`);
pack(`${dawn}/dist/linux-x64/dawn.node`, `app/${dawn}/dist/linux-x64/dawn.node`);

// The browser's Vulkan loader serves where the system has none; its software driver, where there is no card.
const browser = dirname(realBrowser());
pack(join(browser, "libvulkan.so.1"), "vulkan/libvulkan.so.1");
pack(join(browser, "libvk_swiftshader.so"), "vulkan/libvk_swiftshader.so");
copyFileSync(join(browser, "vk_swiftshader_icd.json"), join(folder, "vulkan/vk_swiftshader_icd.json"));
write("vulkan/chromium", "");

pack(process.execPath, "node");
// Filled by run.sh, which has no other way to make a file executable.
write("node", "", true);
write("run.sh", runScript(), true);
write("start.mjs", startScript());
write("README.txt", readme());

const bytes = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .reduce((sum, entry) => sum + statSync(join(entry.parentPath ?? entry.path, entry.name)).size, 0);
process.stdout.write(`${folder}: ${(bytes / 1e6).toFixed(1)} MB\n`);
if (bytes >= LIMIT_MB * 1e6) {
  process.stderr.write(`the limit is ${LIMIT_MB} MB\n`);
  process.exit(1);
}

/** The folder of an installed browser that holds its drivers; on Debian the program is a script elsewhere. */
function realBrowser() {
  const found = ensureChromium();
  const candidates = [found, "/usr/lib/chromium/chromium", "/opt/google/chrome/chrome"];
  const withDriver = candidates.find((program) => existsSync(join(dirname(program), "libvk_swiftshader.so")));
  if (withDriver === undefined)
    throw new Error("no browser with libvk_swiftshader.so; set CHROMIUM to the program in its folder");
  return withDriver;
}

function place(file) {
  const target = join(folder, file);
  mkdirSync(dirname(target), { recursive: true });
  return target;
}

function write(file, content, executable = false) {
  writeFileSync(place(file), content);
  if (executable) chmodSync(join(folder, file), 0o755);
}

function copy(file) {
  copyFileSync(file, place(`app/${file}`));
}

/** Compressed; start.mjs and run.sh make `target` of it. */
function pack(file, target) {
  writeFileSync(place(`${target}.gz`), gzipSync(readFileSync(file), { level: 9 }));
}

function runScript() {
  return `#!/bin/sh
# Unpacks Node and starts the bench. Needs a POSIX shell and gzip; PATH may be empty.
here=\${0%/*}
[ "$here" = "$0" ] && here=.
cd "$here" || exit 1
if [ ! -s node ]; then
  for gzip in gzip /bin/gzip /usr/bin/gzip; do
    if command -v "$gzip" >/dev/null 2>&1; then
      "$gzip" -dc node.gz >node || exit 1
      break
    fi
  done
fi
if [ ! -s node ]; then
  echo "gzip is needed to unpack node.gz" >&2
  exit 1
fi
LD_LIBRARY_PATH="$PWD/vulkan\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec ./node start.mjs "$@"
`;
}

function startScript() {
  return `// Unpacks what lies beside it, says where drivers are, and runs the bench.
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

const here = import.meta.dirname;
process.chdir(here);
for (const entry of readdirSync(here, { recursive: true })) {
  if (!entry.endsWith(".gz") || entry === "node.gz" || existsSync(entry.slice(0, -3))) continue;
  // Renamed into place, so that a run that was stopped leaves no half file.
  writeFileSync(entry + ".part", gunzipSync(readFileSync(entry)));
  renameSync(entry + ".part", entry.slice(0, -3));
}
process.env.BENCH_RESULTS ??= join(here, "results");
process.env.CHROMIUM = join(here, "vulkan/chromium");
// Containers for graphics cards have the driver's manifest where the loader does not look.
const mounted = "/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json";
if (process.env.VK_DRIVER_FILES === undefined && existsSync(mounted)) process.env.VK_DRIVER_FILES = mounted;
await import("./app/bench/engine.bench.mjs");
process.on("exit", () => process.stdout.write("figures: " + join(process.env.BENCH_RESULTS, "engine.json") + "\\n"));
`;
}

function readme() {
  return `Products with weight matrices on WebGPU: the engine's kernels and onnxruntime-web's, on the same device in the same run.
Run ./run.sh; it writes results/engine.json. BENCH_RESULTS names another folder, VK_DRIVER_FILES a Vulkan driver's manifest.
`;
}
