/** What ships: the file list of the packaged extension, compared with the list here, so that nothing slips in or out unseen. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { before, describe, it } from "node:test";

const vsix = "long-context-playground.vsix";
const limitMiB = 40;
const siblings = ["rope-4m", "alibi-4m", "mamba-4m", "rwkv7-4m"];
const siblingsLimitMB = 40;

/** Of every bundled model. */
const specimenFiles = [
  "README.md",
  "config.json",
  "eval.json",
  "model.safetensors",
  "recipe.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "training.jsonl",
];

const expected = [
  "[Content_Types].xml",
  "extension.vsixmanifest",
  "extension/LICENSE.txt",
  "extension/changelog.md",
  "extension/readme.md",
  "extension/package.json",
  "extension/dist/countWorker.js",
  "extension/dist/extension.js",
  "extension/dist/textThread.js",
  "extension/dist/tokenThread.js",
  "extension/dist/grammars/tree-sitter-bash.wasm",
  "extension/dist/grammars/tree-sitter-c-sharp.wasm",
  "extension/dist/grammars/tree-sitter-cpp.wasm",
  "extension/dist/grammars/tree-sitter-css.wasm",
  "extension/dist/grammars/tree-sitter-go.wasm",
  "extension/dist/grammars/tree-sitter-java.wasm",
  "extension/dist/grammars/tree-sitter-javascript.wasm",
  "extension/dist/grammars/tree-sitter-php.wasm",
  "extension/dist/grammars/tree-sitter-python.wasm",
  "extension/dist/grammars/tree-sitter-ruby.wasm",
  "extension/dist/grammars/tree-sitter-rust.wasm",
  "extension/dist/grammars/tree-sitter-tsx.wasm",
  "extension/dist/grammars/tree-sitter-typescript.wasm",
  "extension/dist/grammars/web-tree-sitter.wasm",
  "extension/dist/ort/ort-wasm-simd-threaded.wasm",
  "extension/dist/panel.js",
  "extension/dist/server.js",
  "extension/dist/tokenizers/cl100k.bin",
  "extension/dist/tokenizers/o200k.bin",
  "extension/dist/worker.js",
  "extension/media/budget.png",
  "extension/media/budget.svg",
  "extension/media/icon-dark.svg",
  "extension/media/icon-light.svg",
  "extension/media/models.svg",
  "extension/media/playground.png",
  "extension/media/schemas/contextSet.schema.json",
  "extension/media/specimens/ask-5m/attended.json",
  "extension/media/specimens/ask-5m/learning.json",
  ...["ask-5m", ...siblings].flatMap((name) => specimenFiles.map((file) => `extension/media/specimens/${name}/${file}`)),
  "extension/media/walkthrough/ask.svg",
  "extension/media/walkthrough/chat.md",
  "extension/media/walkthrough/citation.svg",
  "extension/media/walkthrough/count.svg",
  "extension/media/walkthrough/fit.svg",
  "extension/media/walkthrough/inspect.svg",
  "extension/media/walkthrough/models.md",
];

describe("vsix", () => {
  before(() => {
    // A full run of test/run.mjs has packaged it already.
    if (process.env.LCP_PACKAGED === "1") return;
    const build = spawnSync(process.execPath, ["build.mjs", "--package"], { encoding: "utf8" });
    assert.equal(build.status, 0, `${build.stdout}${build.stderr}`);
  });

  it("holds exactly the files that ship", () => {
    assert.deepEqual(zipEntries(readFileSync(vsix)).sort(), [...expected].sort());
  });

  it(`is at most ${limitMiB} MiB`, () => {
    assert.ok(statSync(vsix).size <= limitMiB * 2 ** 20);
  });

  it(`has the four siblings in at most ${siblingsLimitMB} MB`, () => {
    const bytes = siblings.map((name) => statSync(`media/specimens/${name}/model.safetensors`).size);
    assert.ok(bytes.reduce((a, b) => a + b) <= siblingsLimitMB * 1e6);
  });

  it("ships bundles without source maps or machine paths", () => {
    for (const name of ["extension", "server", "countWorker", "textThread", "tokenThread", "panel", "worker"]) {
      const text = readFileSync(`dist/${name}.js`, "utf8");
      assert.doesNotMatch(text, /sourceMappingURL=/, `${name}.js`);
      assert.ok(!text.includes(process.cwd()), `${name}.js holds the path of this checkout`);
    }
  });
});

/** Names in the central directory of a ZIP file. */
function zipEntries(bytes: Buffer): string[] {
  const endSignature = 0x06054b50;
  let end = bytes.length - 22;
  while (end >= 0 && bytes.readUInt32LE(end) !== endSignature) end--;
  assert.ok(end >= 0, `${vsix} is not a ZIP file`);
  const names: string[] = [];
  let at = bytes.readUInt32LE(end + 16);
  for (let left = bytes.readUInt16LE(end + 10); left > 0; left--) {
    const [nameLength, extraLength, commentLength] = [
      bytes.readUInt16LE(at + 28),
      bytes.readUInt16LE(at + 30),
      bytes.readUInt16LE(at + 32),
    ];
    names.push(bytes.toString("utf8", at + 46, at + 46 + nameLength));
    at += 46 + nameLength + extraLength + commentLength;
  }
  return names;
}
