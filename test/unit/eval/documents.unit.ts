import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { documentsHash, readDocuments, type DocumentOptions } from "../../../engine/eval/documents.ts";
import { BodyCache } from "../../../engine/pack/body.ts";
import { loadTokenizer } from "../../../engine/tokenizer/load.ts";
import { memoryWorkspace, tinyTokenizerJson } from "../../support/tinyModel.ts";

const tokenizer = loadTokenizer(tinyTokenizerJson);
const CONTENTS = Object.fromEntries(
  Array.from({ length: 12 }, (_, index) => [`src/f${index}.ts`, `const n${index} = ${index};\n`.repeat(3)]),
);

function from(extra: Partial<DocumentOptions> = {}) {
  const workspace = memoryWorkspace(CONTENTS);
  const options = { ...workspace, tokenizer, cache: new BodyCache(), documentTokens: 50, documents: 3, seed: 0, ...extra };
  return { workspace, options };
}

describe("texts made of files", () => {
  it("are files with their header lines, one behind the other, each text exactly as long as wanted", async () => {
    const texts = await readDocuments(from().options);
    assert.deepEqual(
      texts.map(({ length }) => length),
      [50, 50, 50],
    );
    const whole = tokenizer.decode(texts.flatMap((text) => [...text]));
    const order = [...whole.matchAll(/=== src\/f(\d+)\.ts ===\n/g)].map((match) => Number(match[1]));
    assert.ok(order.length >= 3 && new Set(order).size === order.length);
    for (const index of order.slice(0, -1))
      assert.ok(whole.includes(`=== src/f${index}.ts ===\n${CONTENTS[`src/f${index}.ts`]}`));
  });

  it("take files in an order of the seed, and read no more than they need", async () => {
    const a = from();
    const texts = await readDocuments(a.options);
    assert.ok(a.workspace.reads.length < 12);
    assert.deepEqual(await readDocuments(from().options), texts);
    assert.deepEqual(await readDocuments(from({ files: [...a.workspace.files].reverse() }).options), texts);
    assert.notDeepEqual(await readDocuments(from({ seed: 1 }).options), texts);
  });

  it("are fewer where the files do not give as many, and an error where they give none", async () => {
    const texts = await readDocuments(from({ documents: 1000, documentTokens: 100 }).options);
    assert.ok(texts.length > 1 && texts.length < 20);
    await assert.rejects(
      readDocuments(from({ documentTokens: 100_000 }).options),
      (error) => EngineError.is(error, "context-too-long") && /fewer than a text of 100,000/.test(error.message),
    );
    await assert.rejects(readDocuments(from({ signal: AbortSignal.abort() }).options), (error) =>
      EngineError.is(error, "aborted"),
    );
  });

  it("leave out files of which only the name is given", async () => {
    const { workspace, options } = from();
    const files = workspace.files.map((file) => (file.path === "src/f3.ts" ? file : { ...file, level: "name" as const }));
    const texts = await readDocuments({ ...options, files, documentTokens: 20 });
    assert.match(tokenizer.decode([...texts[0]]), /^=== src\/f3\.ts ===/);
    assert.deepEqual(workspace.reads, ["src/f3.ts"]);
  });

  it("have a hash that changes with every token and every border", () => {
    const hashes = [[[1, 2], [3]], [[1], [2, 3]], [[1, 2, 3]], [[1, 2], [4]], [[2, 1], [3]]].map((texts) =>
      documentsHash(texts.map((text) => Int32Array.from(text))),
    );
    assert.equal(new Set(hashes).size, hashes.length);
    assert.match(hashes[0], /^[0-9a-f]{16}$/);
  });
});
