import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { openOrtRunner } from "../../../engine/backends/ort.ts";
import { checkFamily } from "../../support/familyChecks.ts";
import { familyNames } from "../../support/familyGoldens.ts";

const wasm = new Uint8Array(readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm")).buffer;

describe("the WebAssembly backend against Hugging Face transformers", () => {
  for (const name of familyNames()) {
    it(name, () => checkFamily(name, (model) => openOrtRunner({ ...model, weightFormat: "f32", wasm, threads: 1 }), [3]));
  }
});
