import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { openGguf } from "../../../engine/formats/ggufStore.ts";
import { type GgufEntry, ggufFile } from "../../support/ggufFile.ts";
import { goldenFile } from "../../support/goldenModels.ts";
import { memoryFiles } from "../../support/memoryFiles.ts";

const golden = goldenFile("containers.json") as {
  gguf: { hex: string; tensors: { "token_embd.weight": { rows: number[][] }; "output_norm.weight": { values: number[] } } };
};
const whole = Uint8Array.from(Buffer.from(golden.gguf.hex, "hex"));
const open = (bytes: Uint8Array, name = "model.gguf") => openGguf(memoryFiles({ [name]: bytes }), name);

describe("GGUF tensors", () => {
  it("are read by row, decoded and as they are", async () => {
    const { store } = await open(whole);
    const { "token_embd.weight": embedding, "output_norm.weight": norm } = golden.gguf.tensors;
    assert.deepEqual([...store.names()], ["token_embd.weight", "output_norm.weight"]);
    assert.deepEqual(store.shape("token_embd.weight"), [2, 32]);
    assert.deepEqual([store.format("token_embd.weight"), store.format("output_norm.weight")], ["q8_0", "f32"]);
    assert.deepEqual([...(await store.readRows("token_embd.weight"))], embedding.rows.flat());
    assert.deepEqual([...(await store.readRows("token_embd.weight", 1, 2))], embedding.rows[1]);
    assert.deepEqual([...(await store.readRows("output_norm.weight"))], norm.values);
    assert.deepEqual(await store.readBytes("token_embd.weight", 1, 2), whole.slice(320 + 34, 320 + 68));
  });

  it("are read the same from version 2, which differs in nothing but its number", async () => {
    const second = whole.slice();
    second[4] = 2;
    const { store, header } = await open(second);
    assert.equal(header.version, 2);
    assert.deepEqual([...(await store.readRows("token_embd.weight"))], golden.gguf.tensors["token_embd.weight"].rows.flat());
  });

  it("have their last dimension first in the file", async () => {
    const values = Float32Array.from({ length: 24 }, (_, index) => index);
    const file = ggufFile({}, [{ name: "t", dimensions: [2, 3, 4], type: 0, offset: 0 }], new Uint8Array(values.buffer));
    const { store } = await open(file);
    assert.deepEqual(store.shape("t"), [4, 3, 2]);
    assert.deepEqual([...(await store.readRows("t", 3, 4))], [18, 19, 20, 21, 22, 23]);
  });

  it("of a type that is not known are refused when they are asked for", async () => {
    const tensors = [
      { name: "t", dimensions: [32], type: 99, offset: 0 },
      { name: "n", dimensions: [2], type: 0, offset: 64 },
    ];
    const { store } = await open(ggufFile({}, tensors, new Uint8Array(72)));
    await rejects(store.readRows("t"), "bad-weights", /type 99/);
    await rejects(store.readBytes("t"), "bad-weights", /type 99/);
    assert.deepEqual([...(await store.readRows("n"))], [0, 0]);
  });

  it("in blocks have whole blocks as rows: part of a vector is refused", async () => {
    const { store } = await open(ggufFile({}, [{ name: "v", dimensions: [64], type: 8, offset: 0 }], new Uint8Array(68)));
    assert.equal((await store.readRows("v")).length, 64);
    await rejects(store.readRows("v", 0, 3), "bad-argument", /vector v/);
    assert.equal((await store.readBytes("v", 32, 64)).length, 34);
  });

  it("stop being read when asked to", async () => {
    const { store } = await open(whole);
    await rejects(store.readRows("output_norm.weight", 0, 4, AbortSignal.abort()), "aborted", /stopped/);
    await rejects(store.readBytes("output_norm.weight", 0, 4, AbortSignal.abort()), "aborted", /stopped/);
  });
});

describe("a GGUF model in parts", () => {
  const split = (part: number, count = 2): Record<string, GgufEntry> => ({
    "split.no": ["u32", part],
    "split.count": ["u32", count],
  });
  const one = { dimensions: [1], type: 0, offset: 0 };
  const partOf = (part: number, name: string, value: number): Uint8Array =>
    ggufFile(split(part), [{ ...one, name }], new Uint8Array(Float32Array.of(value).buffer));
  const parts = {
    "m-00001-of-00002.gguf": partOf(0, "a", 1),
    "m-00002-of-00002.gguf": partOf(1, "b", 2),
  };

  it("is opened by its first", async () => {
    const { store } = await openGguf(memoryFiles(parts), "m-00001-of-00002.gguf");
    assert.deepEqual([...(await store.readRows("a")), ...(await store.readRows("b"))], [1, 2]);
  });

  it("is refused where a part is missing, is not the first, has another name, or has the same tensor again", async () => {
    const first = "m-00001-of-00002.gguf";
    await rejects(openGguf(memoryFiles(parts), "m-00002-of-00002.gguf"), "bad-weights", /not the first part/);
    await rejects(openGguf(memoryFiles({ [first]: parts[first] }), first), "weights-missing", /00002-of-00002/);
    await rejects(open(parts[first], "renamed.gguf"), "bad-weights", /not named as such/);
    const twice = { ...parts, "m-00002-of-00002.gguf": partOf(1, "a", 2) };
    await rejects(openGguf(memoryFiles(twice), first), "bad-weights", /tensor a, which another part has/);
    await rejects(open(ggufFile(split(0, 1e9)), first), "bad-weights", /1000000000 parts/);
    await rejects(openGguf(memoryFiles({}), first), "not-found", /no m-00001/);
  });
});

async function rejects(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(EngineError.is(error, code), `expected ${code}, got ${String(error)}`);
    assert.match(error.message, message);
    assert.notEqual(error.remedy, "");
    return true;
  });
}
