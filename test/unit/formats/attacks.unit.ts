/** One test for every known attack on readers of weight files; each is refused by an error of our own that says what is wrong. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { readGguf } from "../../../engine/formats/gguf.ts";
import { openSafetensors } from "../../../engine/formats/safetensors.ts";
import { ggufTokenizer } from "../../../engine/tokenizer/ggufTokenizer.ts";
import { type GgufEntry, ggufFile, type GgufTensorEntry } from "../../support/ggufFile.ts";
import { memoryFiles, safetensorsFile, withHeader } from "../../support/memoryFiles.ts";

describe("attacks on GGUF", () => {
  const tensor: GgufTensorEntry = { name: "t", dimensions: [32], type: 0, offset: 0 };
  const data = new Uint8Array(256);
  const withTensor = (changes: Partial<GgufTensorEntry>): Uint8Array => ggufFile({}, [{ ...tensor, ...changes }], data);
  const withEntry = (entry: GgufEntry, key = "k"): Uint8Array => ggufFile({ [key]: entry }, [tensor], data);
  const u64 = (value: bigint): number[] => [...new Uint8Array(BigUint64Array.of(value).buffer)];
  const negative = (value: bigint): bigint => BigInt.asUintN(64, value);

  it("dimensions whose product overflows 2^53", () =>
    refusesGguf(withTensor({ dimensions: [2 ** 27, 2 ** 27] }), /before the end of/));

  it("dimensions whose product overflows 2^64 to a small number", async () => {
    await refusesGguf(withTensor({ dimensions: [2 ** 32, 2 ** 32] }), /before the end of tensor t/);
    await refusesGguf(withTensor({ dimensions: [2 ** 32 + 1, 2 ** 32, 2 ** 32, 2 ** 32] }), /before the end of tensor t/);
    // 2^62 numbers of four bytes are 2^64 bytes.
    await refusesGguf(withTensor({ dimensions: [2 ** 31, 2 ** 31] }), /before the end of tensor t/);
    // In blocks: 2^59 blocks of 34 bytes are 2^64 + 2^60 bytes.
    await refusesGguf(withTensor({ dimensions: [2 ** 32, 2 ** 32], type: 8 }), /before the end of tensor t/);
  });

  it("dimensions beyond 2^53", () => refusesGguf(withTensor({ dimensions: [2n ** 60n] }), /1152921504606846976 for a dimension/));
  it("a dimension of zero", () => refusesGguf(withTensor({ dimensions: [32, 0] }), /a dimension of 0/));
  it("a zero that hides an overflow", () => refusesGguf(withTensor({ dimensions: [2 ** 52, 2 ** 52, 0] }), /a dimension of 0/));
  it("a negative dimension", () => refusesGguf(withTensor({ dimensions: [32, negative(-1n)] }), /for a dimension of tensor t/));

  it("more than four dimensions", async () => {
    await refusesGguf(withTensor({ dimensions: [1, 1, 1, 1, 1] }), /5 dimensions/);
    await refusesGguf(changedU32(withTensor({}), findText(withTensor({}), "t") + 1, 0xffffffff), /4294967295 dimensions/);
  });

  it("a tensor over another", () =>
    refusesGguf(ggufFile({}, [tensor, { ...tensor, name: "u", offset: 32 }], data), /tensor u over another/));

  it("a tensor outside the file", async () => {
    await refusesGguf(withTensor({ offset: 256 }), /before the end of tensor t/);
    await refusesGguf(withTensor({ offset: 2 ** 40 }), /before the end of tensor t/);
    await refusesGguf(withTensor({ offset: 2 ** 40, type: 99 }), /before the end of tensor t/);
  });

  it("an offset that overflows when the data's place is added", async () => {
    await refusesGguf(withTensor({ offset: negative(-32n) }), /for the offset of tensor t/);
    await refusesGguf(withTensor({ offset: 2n ** 53n - 32n }), /before the end of tensor t/);
  });

  it("an offset that is not aligned", () => refusesGguf(withTensor({ offset: 4 }), /not a multiple of 32/));

  it("an alignment of zero, of a wrong type, that is no multiple of 8, or huge", async () => {
    const alignments: [GgufEntry, RegExp][] = [
      [["u32", 0], /alignment 0/],
      [["string", "32"], /alignment 32; it must/],
      [["f32", 32.5], /alignment 32\.5/],
      [["bool", true], /alignment true/],
      [["i32s", [32]], /alignment 32; it must/],
      [["u32", 12], /alignment 12/],
      [["i32", -32], /alignment -32/],
      [["u32", 2 ** 31], /alignment 2147483648/],
      [["u64", 2n ** 63n], /alignment 9223372036854775808/],
    ];
    for (const [entry, message] of alignments) await refusesGguf(withEntry(entry, "general.alignment"), message);
  });

  it("arrays whose elements have another type than their reader expects", async () => {
    const words: GgufEntry = ["strings", ["a", "b"]];
    const vocabulary = { "tokenizer.ggml.model": ["string", "llama"], "tokenizer.ggml.tokens": words } as const;
    const wrong: [Record<string, GgufEntry>, RegExp][] = [
      [{ ...vocabulary, "tokenizer.ggml.tokens": ["i32s", [1, 2]] }, /tokens is not a list of strings/],
      [{ ...vocabulary, "tokenizer.ggml.tokens": ["string", "ab"] }, /tokens is not a list of strings/],
      [{ ...vocabulary, "tokenizer.ggml.scores": words }, /2 tokenizer\.ggml\.scores/],
      [{ ...vocabulary, "tokenizer.ggml.scores": ["f32s", [1]] }, /2 tokenizer\.ggml\.scores/],
      [{ ...vocabulary, "tokenizer.ggml.token_type": words }, /token_type is no list of 2 numbers/],
      [{ ...vocabulary, "tokenizer.ggml.model": ["strings", ["llama"]] }, /model is not a string/],
      [{ ...vocabulary, "tokenizer.ggml.bos_token_id": ["i32s", [1]] }, /bos_token_id is 1/],
    ];
    for (const [metadata, message] of wrong) {
      const header = await readGguf(await sourceOf(ggufFile(metadata)));
      assert.throws(
        () => ggufTokenizer(header.metadata, "model.gguf"),
        (error) => EngineError.is(error, "tokenizer-invalid") && message.test(error.message),
        String(message),
      );
    }
  });

  it("an array of a type that does not exist", () =>
    refusesGguf(withEntry(["raw", { type: 9, bytes: [77, 0, 0, 0, ...u64(1n), 0] }]), /elements of k the unknown type 77/));
  it("a value of a type that does not exist", () =>
    refusesGguf(withEntry(["raw", { type: 13, bytes: [0] }]), /gives k the unknown type 13/));
  it("arrays in arrays", () => {
    const inner = [9, 0, 0, 0, ...u64(1n)];
    return refusesGguf(
      withEntry(["raw", { type: 9, bytes: [...inner, ...inner, ...inner, 0, 0, 0, 0, ...u64(0n)] }]),
      /inside the array k/,
    );
  });

  it("an empty key", () => refusesGguf(withEntry(["bool", true], ""), /a metadata key empty/));
  it("an empty tensor name", () => refusesGguf(withTensor({ name: "" }), /a tensor name empty/));
  it("a key twice", () =>
    refusesGguf(
      ggufFile([
        ["k", ["bool", true]],
        ["k", ["bool", false]],
      ]),
      /metadata key k twice/,
    ));
  it("a tensor name twice", () => refusesGguf(ggufFile({}, [tensor, { ...tensor, offset: 128 }], data), /tensor t twice/));
  it("a key of 70,000 characters", () => refusesGguf(withEntry(["bool", true], "k".repeat(70_000)), /70000 characters/));

  it("strings longer than the file: a key, a value, an element, with lengths up to 2^64 - 1", async () => {
    for (const length of [2n ** 20n, 2n ** 31n, 2n ** 32n + 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      const key = ggufFile({ k: ["bool", true] });
      key.set(u64(length), 24);
      await refusesGguf(key, /a metadata key/);
      await refusesGguf(withEntry(["raw", { type: 8, bytes: u64(length) }]), /of the value of k|the value of k/);
      const element = [8, 0, 0, 0, ...u64(1n), ...u64(length)];
      await refusesGguf(withEntry(["raw", { type: 9, bytes: element }]), /an element of k/);
    }
  });

  it("counts beyond the file: elements, entries, tensors", async () => {
    for (const count of [2n ** 20n, 2n ** 32n, 2n ** 61n, 2n ** 64n - 1n]) {
      for (const type of [0, 4, 7, 8, 12]) {
        await refusesGguf(withEntry(["raw", { type: 9, bytes: [type, 0, 0, 0, ...u64(count)] }]), /elements of k/);
      }
      for (const place of [8, 16]) {
        const file = withEntry(["bool", true]);
        file.set(u64(count), place);
        await refusesGguf(file, /tensors|metadata entries/);
      }
    }
  });

  it("more entries than any model has, in a file that is large enough for them", async () => {
    const file = new Uint8Array(4_000_000);
    file.set(withEntry(["bool", true]));
    file.set(u64(150_000n), 8);
    await refusesGguf(file, /150000 tensors/);
  });

  it("a header of more than 100 MB", async () => {
    const file = ggufFile({ k: ["raw", { type: 9, bytes: [0, 0, 0, 0, ...u64(200_000_000n)] }] });
    const large = {
      name: "model.gguf",
      size: 300_000_000,
      read: async (offset: number, length: number) => {
        const bytes = new Uint8Array(length);
        bytes.set(file.subarray(offset, offset + length));
        return bytes;
      },
    };
    await assert.rejects(readGguf(large), (error) => EngineError.is(error, "bad-weights") && /100000000/.test(error.message));
  });
});

describe("attacks on safetensors", () => {
  const file = (header: unknown, dataBytes = 16): Uint8Array =>
    withHeader(typeof header === "string" ? header : JSON.stringify(header), new Uint8Array(dataBytes));
  const entry = (changes: object): Uint8Array => file({ a: { dtype: "F32", shape: [4], data_offsets: [0, 16], ...changes } });

  it("a header length near 2^64, beyond 100 MB, or beyond the file", async () => {
    for (const length of [2n ** 64n - 1n, 2n ** 64n - 8n, 2n ** 63n, 2n ** 53n + 1n, 100_000_001n, 2000n]) {
      const bytes = entry({});
      bytes.set(new Uint8Array(BigUint64Array.of(length).buffer));
      await refuses(bytes, /header of \d+ bytes/);
    }
  });

  it("a shape whose product overflows 2^53 or 2^64", async () => {
    await refuses(entry({ shape: [2 ** 27, 2 ** 27] }), /needs/);
    await refuses(entry({ shape: [2 ** 32, 2 ** 32] }), /needs/);
    await refuses(entry({ shape: [2 ** 31, 2 ** 31] }), /needs/);
    await refuses(entry({ shape: Array.from({ length: 400 }, () => 1000) }), /needs Infinity/);
    await refuses(entry({ shape: [...Array.from({ length: 400 }, () => 1000), 0] }), /needs NaN/);
    await refuses(entry({ shape: [2 ** 53 + 2] }), /shape/);
  });

  it("a shape of zero, negative, broken or no numbers", async () => {
    await refuses(entry({ shape: [0] }), /needs 0/);
    await refuses(entry({ shape: [-4] }), /shape \[-4\]/);
    await refuses(entry({ shape: [-2, -2] }), /shape \[-2,-2\]/);
    await refuses(entry({ shape: [4.5] }), /shape \[4\.5\]/);
    await refuses(entry({ shape: ["4"] }), /shape \["4"\]/);
    await refuses(entry({ shape: { length: 1, 0: 4 } }), /shape/);
    await refuses(file('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,16]}}'), /shape/);
  });

  it("a tensor over another, also one that ends where the file does", async () => {
    const b = { dtype: "F32", shape: [2], data_offsets: [8, 16] };
    await refuses(file({ a: { dtype: "F32", shape: [4], data_offsets: [0, 16] }, b }), /tensor b over another/);
    await refuses(file({ a: { dtype: "F32", shape: [3], data_offsets: [0, 12] }, b }), /tensor b over another/);
    await refuses(file({ a: { dtype: "F32", shape: [2], data_offsets: [8, 16] }, b }), /unused bytes before/);
  });

  it("offsets outside the file, falling, negative, or too many", async () => {
    await refuses(entry({ shape: [8], data_offsets: [0, 32] }), /before the end of tensor a/);
    await refuses(entry({ data_offsets: [2 ** 53 - 17, 2 ** 53 - 1] }), /before the end of tensor a/);
    await refuses(entry({ data_offsets: [16, 0] }), /offsets/);
    await refuses(entry({ data_offsets: [-16, 0] }), /offsets/);
    await refuses(entry({ data_offsets: [0, 16, 32] }), /offsets/);
    await refuses(entry({ data_offsets: [0, 2 ** 63] }), /offsets/);
  });

  it("a dtype that is a property of every object", () =>
    refuses(entry({ dtype: "constructor", data_offsets: [0, 15] }), /unused bytes/));

  it("names twice, and empty", async () => {
    const a = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}';
    const b = '{"dtype":"F32","shape":[2],"data_offsets":[8,16]}';
    await refuses(file(`{"a":${a},"a":${b}}`), /key a twice/);
    await refuses(file(`{"a":${a},"b":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[8,16]}}`), /key dtype twice/);
    await refuses(file(`{"":${a},"b":${b}}`), /empty key/);
  });

  it("bare Infinity and NaN, which config.json may have", async () => {
    await refuses(file('{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,16]}}'), /not JSON/);
    await refuses(file('{"a":{"dtype":"F32","shape":[4],"data_offsets":[NaN,16]}}'), /not JSON/);
  });

  it("nesting without end", async () => {
    await refuses(file(`{"a":${"[".repeat(1_000_000)}`), /nests more than 3 deep/);
    await refuses(file(`{"a":${'{"b":'.repeat(100_000)}1${"}".repeat(100_001)}`), /nests more than 3 deep/);
  });

  it("metadata that is no list of texts", async () => {
    await refuses(
      safetensorsFile({}, () => ({ __metadata__: [1] })),
      /__metadata__ \[1\]/,
    );
    await refuses(
      safetensorsFile({}, () => ({ __metadata__: { format: 1 } })),
      /__metadata__/,
    );
  });

  it("an index that leads out of the folder or is none", async () => {
    const index = (map: unknown) => memoryFiles({ "model.safetensors.index.json": JSON.stringify({ weight_map: map }) });
    for (const name of [
      "../a.safetensors",
      "..",
      "/etc/passwd",
      "C:\\a.safetensors",
      "a\0.safetensors",
      "",
      "config.json",
      3,
      null,
    ])
      await rejects(openSafetensors(index({ a: name })), "bad-weights", /places a in/);
    await rejects(openSafetensors(index([1])), "bad-weights", /no weight_map/);
    const twice = memoryFiles({ "model.safetensors.index.json": '{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}' });
    await rejects(openSafetensors(twice), "bad-weights", /key a twice/);
  });
});

async function sourceOf(bytes: Uint8Array) {
  return (await memoryFiles({ "model.gguf": bytes }).open("model.gguf")) ?? assert.fail("no file");
}

async function refusesGguf(bytes: Uint8Array, message: RegExp): Promise<void> {
  await rejects(readGguf(await sourceOf(bytes)), "bad-weights", message);
}

function refuses(bytes: Uint8Array, message: RegExp): Promise<void> {
  return rejects(openSafetensors(memoryFiles({ "model.safetensors": bytes })), "bad-weights", message);
}

async function rejects(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(EngineError.is(error, code), `expected ${code}, got ${String(error)}`);
    assert.match(error.message, message);
    assert.notEqual(error.remedy, "");
    return true;
  });
}

function findText(bytes: Uint8Array, text: string): number {
  return (
    Buffer.from(bytes).indexOf(Buffer.concat([Buffer.from(BigUint64Array.of(BigInt(text.length)).buffer), Buffer.from(text)])) +
    7 +
    text.length
  );
}

function changedU32(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(at, value, true);
  return copy;
}
