import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { ByteSource } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { readGguf } from "../../../engine/formats/gguf.ts";
import { ggufFile } from "../../support/ggufFile.ts";
import { memoryFiles } from "../../support/memoryFiles.ts";
import { seeded } from "../../support/random.ts";

interface Golden {
  hex: string;
  tensor_data_start: number;
  metadata: Record<string, unknown>;
}
const golden = (JSON.parse(readFileSync("test/golden/containers.json", "utf8")) as { gguf: Golden }).gguf;

async function sourceOf(bytes: Uint8Array): Promise<ByteSource> {
  const source = await memoryFiles({ "model.gguf": bytes }).open("model.gguf");
  assert.ok(source);
  return source;
}

const read = async (bytes: Uint8Array) => readGguf(await sourceOf(bytes));
const refuses = (bytes: Uint8Array, message: RegExp) =>
  assert.rejects(
    read(bytes),
    (error) => EngineError.is(error, "bad-weights") && message.test(error.message) && error.remedy !== "",
    String(message),
  );

describe("GGUF header", () => {
  it("reads a file that the gguf package wrote", async () => {
    const header = await read(Uint8Array.from(Buffer.from(golden.hex, "hex")));
    assert.equal(header.version, 3);
    assert.equal(header.dataStart, golden.tensor_data_start);
    assert.deepEqual(Object.fromEntries(header.metadata), golden.metadata);
    assert.deepEqual(
      [...header.tensors.values()],
      [
        { name: "token_embd.weight", shape: [2, 32], type: "Q8_0", begin: 320, sizeBytes: 68 },
        { name: "output_norm.weight", shape: [4], type: "F32", begin: 416, sizeBytes: 16 },
      ],
    );
  });

  it("reads every kind of value, across the pieces in which it reads a file", async () => {
    const words = Array.from({ length: 60_000 }, (_, i) => `w\u00f6rd ${i}`.repeat(1 + (i % 4)));
    const numbers = Array.from({ length: 60_000 }, (_, i) => i - 30_000);
    const { metadata } = await read(
      ggufFile({
        words: ["strings", words],
        numbers: ["i32s", numbers],
        bytes: ["u8s", [0, 255]],
        scores: ["f32s", [-1.5, 2]],
        large: ["u64", 2n ** 60n],
        small: ["i32", -7],
        ratio: ["f32", 0.5],
        flag: ["bool", true],
      }),
    );
    assert.deepEqual(metadata.get("words"), words);
    assert.deepEqual(metadata.get("numbers"), Int32Array.from(numbers));
    assert.deepEqual(metadata.get("bytes"), Uint8Array.of(0, 255));
    assert.deepEqual(metadata.get("scores"), Float32Array.of(-1.5, 2));
    assert.deepEqual(
      ["large", "small", "ratio", "flag"].map((key) => metadata.get(key)),
      [2n ** 60n, -7, 0.5, true],
    );
  });

  it("never reads tensor data", async () => {
    const reads: number[] = [];
    const data = new Uint8Array(8 * 2 ** 20);
    const file = ggufFile({ a: ["bool", true] }, [{ name: "t", dimensions: [2 ** 21], type: 0, offset: 0 }], data);
    const source = await memoryFiles({ "model.gguf": file }, reads).open("model.gguf");
    assert.ok(source);
    assert.equal((await readGguf(source)).tensors.get("t")?.sizeBytes, data.length);
    assert.ok(reads.reduce((sum, bytes) => sum + bytes, 0) <= 2 ** 20);
  });

  it("refuses damaged files by what is wrong with them", async () => {
    const file = ggufFile({ "general.alignment": ["u32", 32], words: ["strings", ["a", "bc"]] });
    const tensor = { name: "t", dimensions: [32], type: 8, offset: 0 };
    const withTensor = (changes: object, data = new Uint8Array(64)) => ggufFile({}, [{ ...tensor, ...changes }], data);
    await refuses(new Uint8Array(100), /no GGUF file/);
    await refuses(file.subarray(0, 10), /no GGUF file/);
    await refuses(changed(file, 4, 1), /version 1/);
    await refuses(changed(changed(file, 4, 0), 7, 3), /big-endian/);
    await refuses(changed(file, 15, 0x7f), /tensors/);
    await refuses(changed(file, 13, 0x7f), /tensors, and only/);
    await refuses(changed(file, 20, 0x7f), /metadata entries, and only/);
    await refuses(file.subarray(0, file.length - 1), /model\.gguf/);
    await refuses(ggufFile({ "general.alignment": ["u32", 7] }), /alignment 7/);
    await refuses(ggufFile({ "general.alignment": ["string", "x"] }), /alignment x/);
    await refuses(withTensor({ dimensions: [1, 1, 1, 1, 1] }), /5 dimensions/);
    await refuses(withTensor({ dimensions: [31] }), /multiple of 32/);
    await refuses(withTensor({ offset: 5 }), /not a multiple/);
    await refuses(withTensor({ offset: 64 }), /before the end of tensor t/);
    await refuses(withTensor({}, new Uint8Array(8)), /before the end of tensor t/);
    const two = [tensor, { ...tensor, name: "u" }];
    await refuses(ggufFile({}, two, new Uint8Array(64)), /over another/);
    await refuses(ggufFile({}, [tensor, tensor], new Uint8Array(64)), /tensor t twice/);
  });

  it("keeps a tensor of an unknown type, without its size", async () => {
    const file = ggufFile({}, [{ name: "t", dimensions: [32], type: 99, offset: 0 }], new Uint8Array(64));
    assert.deepEqual((await read(file)).tensors.get("t"), {
      name: "t",
      shape: [32],
      type: "type 99",
      begin: 64,
      sizeBytes: undefined,
    });
  });

  it("answers any spoilt byte with a header or with an error of its own, and never asks for more than the file has", async () => {
    const random = seeded(11);
    const whole = Uint8Array.from(Buffer.from(golden.hex, "hex"));
    for (let round = 0; round < 600; round++) {
      const spoilt = changed(whole, Math.floor(random() * golden.tensor_data_start), Math.floor(random() * 256));
      await read(spoilt.subarray(0, round % 3 === 0 ? Math.floor(random() * spoilt.length) : spoilt.length)).catch(
        (error: unknown) => assert.ok(EngineError.is(error, "bad-weights"), String(error)),
      );
    }
  });

  it("stops when asked to", async () => {
    const source = await sourceOf(ggufFile({ a: ["bool", true] }));
    await assert.rejects(readGguf(source, AbortSignal.abort()), (error) => EngineError.is(error, "aborted"));
  });
});

function changed(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = value;
  return copy;
}
