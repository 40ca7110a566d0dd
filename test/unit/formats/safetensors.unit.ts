import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ByteSource, ModelFiles } from "../../../engine/api.ts";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { openSafetensors } from "../../../engine/formats/safetensors.ts";
import type { NamedStore } from "../../../engine/formats/tensorStore.ts";
import { goldenFile } from "../../support/goldenModels.ts";
import { memoryFiles, safetensorsFile, withHeader } from "../../support/memoryFiles.ts";

const golden = goldenFile("containers.json") as { safetensors: { hex: string; tensors: { a: number[][]; b: number[] } } };
const goldenBytes = Uint8Array.from(Buffer.from(golden.safetensors.hex, "hex"));
const small = { a: { shape: [2, 2], values: [1, 2, 3, 4] }, b: { shape: [3], values: [5, 6, 7] } };

describe("safetensors", () => {
  it("reads the recorded file: f32, bf16 and the shapes", async () => {
    const store = await open(goldenBytes);
    assert.deepEqual([...(await store.readRows("a"))], golden.safetensors.tensors.a.flat());
    assert.deepEqual([...(await store.readRows("b"))], golden.safetensors.tensors.b);
    assert.deepEqual(store.shape("a"), [2, 2]);
    assert.deepEqual(store.shape("c"), []);
    assert.equal(store.has("c"), true);
    assert.equal(store.has("d"), false);
  });

  it("reads rows of the first dimension", async () => {
    const store = await open(safetensorsFile(small));
    assert.deepEqual([...(await store.readRows("a", 1, 2))], [3, 4]);
    assert.deepEqual([...(await store.readRows("b", 0, 1))], [5]);
    await rejects(store.readRows("a", 1, 3), "bad-argument", /rows 1 to 3/);
  });

  it("reads f16, f8 and integers, and names the dtype it cannot read only when asked for the tensor", async () => {
    const entries = {
      h: { dtype: "F16", shape: [2], data_offsets: [0, 4] },
      i: { dtype: "I32", shape: [1], data_offsets: [4, 8] },
      f: { dtype: "F8_E4M3", shape: [1, 2], data_offsets: [8, 10] },
      e: { dtype: "F8_E8M0", shape: [2], data_offsets: [10, 12] },
    };
    const data = Uint8Array.of(0x00, 0x3c, 0xa0, 0xc0, 5, 0, 0, 0, 0x38, 0xb4, 127, 128);
    const store = await open(withHeader(JSON.stringify(entries), data));
    assert.deepEqual([...(await store.readRows("h"))], [1, -2.3125]);
    assert.deepEqual([...(await store.readRows("i"))], [5]);
    assert.deepEqual([...(await store.readRows("f"))], [1, -0.75]);
    assert.deepEqual(
      ["h", "i", "f"].map((name) => store.format(name)),
      ["f16", "i32", "f8_e4m3"],
    );
    await rejects(store.readRows("e"), "bad-weights", /F8_E8M0/);
    assert.throws(() => store.format("e"), /F8_E8M0/);
  });

  it("gives rows as they lie in the file", async () => {
    const store = await open(safetensorsFile(small));
    assert.deepEqual(await store.readBytes("a", 1, 2), new Uint8Array(Float32Array.of(3, 4).buffer));
    assert.deepEqual(await store.readBytes("b"), new Uint8Array(Float32Array.of(5, 6, 7).buffer));
    await rejects(store.readBytes("a", 1, 3), "bad-argument", /rows 1 to 3/);
    await rejects(store.readBytes("c"), "weights-missing", /no tensor c/);
  });

  it("reads a tensor of any size in pieces of at most 64 MiB", async () => {
    const rows = 5;
    const columns = 4 * 2 ** 20;
    const begins: number[] = [];
    const header = JSON.stringify({ w: { dtype: "F32", shape: [rows, columns], data_offsets: [0, rows * columns * 4] } });
    const source = endlessSource(withHeader(header), rows * columns * 4, begins);
    const store = await openSafetensors({ label: "large", text: async () => undefined, open: async () => source });
    const values = await store.readRows("w");
    assert.equal(values.length, rows * columns);
    assert.deepEqual(begins, [0, 64 * 2 ** 20]);
    assert.equal(values.at(-1), 1);
    begins.length = 0;
    assert.equal((await store.readBytes("w")).length, rows * columns * 4);
    assert.deepEqual(begins, [0, 64 * 2 ** 20]);
  });

  it("joins the shards of an index", async () => {
    const index = { weight_map: { a: "one.safetensors", b: "two.safetensors" } };
    const files = {
      "model.safetensors.index.json": JSON.stringify(index),
      "one.safetensors": safetensorsFile({ a: small.a }),
      "two.safetensors": safetensorsFile({ b: small.b }),
    };
    const store = await openSafetensors(memoryFiles(files));
    assert.deepEqual([...(await store.readRows("a"))], [1, 2, 3, 4]);
    assert.deepEqual([...(await store.readRows("b"))], [5, 6, 7]);

    await rejects(
      openSafetensors(memoryFiles({ ...files, "two.safetensors": files["one.safetensors"] })),
      "bad-weights",
      /no tensor b/,
    );
    const halfOnly = { "model.safetensors.index.json": JSON.stringify(index), "one.safetensors": files["one.safetensors"] };
    await rejects(openSafetensors(memoryFiles(halfOnly)), "weights-missing", /two\.safetensors/);
    const outside = { "model.safetensors.index.json": JSON.stringify({ weight_map: { a: "../one.safetensors" } }) };
    await rejects(openSafetensors(memoryFiles(outside)), "bad-weights", /\.\.\/one/);
  });

  it("says so where a folder has no weights", async () => {
    await rejects(openSafetensors(memoryFiles({})), "not-found", /neither model\.safetensors nor/);
  });

  it("stops between pieces when aborted", async () => {
    const stop = new AbortController();
    const store = await open(safetensorsFile(small));
    stop.abort();
    await rejects(store.readRows("a", 0, 2, stop.signal), "aborted", /./);
  });
});

describe("damaged safetensors", () => {
  const whole = safetensorsFile(small);
  const entry = (change: object) =>
    safetensorsFile(small, (header) => ({ ...header, a: { ...(header["a"] as object), ...change } }));
  const damages: [what: string, bytes: Uint8Array, message: RegExp][] = [
    ["empty file", new Uint8Array(0), /0 bytes/],
    ["cut in the header", whole.slice(0, 30), /header of \d+ bytes in a file of 30/],
    ["cut in the data", whole.slice(0, -5), /ends 5 bytes before the end of tensor b/],
    ["bytes behind the data", Uint8Array.from([...whole, 0]), /1 unused bytes at its end/],
    ["huge header length", Uint8Array.from([...new Array<number>(7).fill(0), 255, ...whole]), /header of \d+ bytes/],
    ["an HTML page", new TextEncoder().encode("<!doctype html><title>404</title>"), /header of \d+ bytes/],
    ["header is no object", withHeader("[]"), /does not begin with \{/],
    ["header is no JSON", withHeader("{nonsense"), /not JSON/],
    ["header is no UTF-8", Uint8Array.from([2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff]), /UTF-8/],
    ["entry is no object", safetensorsFile(small, (header) => ({ ...header, a: 3 })), /tensor a by 3/],
    ["shape is negative", entry({ shape: [-2, -2] }), /shape \[-2,-2\]/],
    ["shape does not fit its bytes", entry({ shape: [2, 3] }), /16 bytes; F32 \[2, 3\] needs 24/],
    ["dtype is missing", entry({ dtype: undefined }), /dtype undefined/],
    ["offsets fall", entry({ data_offsets: [16, 0] }), /offsets \[16,0\]/],
    ["overlap", entry({ data_offsets: [4, 20] }), /over another tensor|unused bytes/],
    ["outside the file", entry({ data_offsets: [400, 416] }), /before the end of tensor a/],
  ];
  for (const [what, bytes, message] of damages) {
    it(what, () => rejects(open(bytes), "bad-weights", message));
  }

  // Any single changed byte of the header must either still read or be refused by us, never by a stray TypeError.
  it("never fails otherwise, whatever byte of the header is wrong", async () => {
    for (let place = 0; place < 208; place++) {
      for (const value of [0, 0x22, 0x39, 0x7d, 0xff]) {
        const spoilt = Uint8Array.from(goldenBytes);
        spoilt[place] = value;
        try {
          await open(spoilt);
        } catch (error) {
          assert.ok(EngineError.is(error, "bad-weights"), `byte ${place} = ${value}: ${String(error)}`);
        }
      }
    }
  });
});

function open(bytes: Uint8Array): Promise<NamedStore> {
  return openSafetensors(memoryFiles({ "model.safetensors": bytes }));
}

async function rejects(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(EngineError.is(error, code), `expected ${code}, got ${String(error)}`);
    assert.match(error.message, message);
    assert.notEqual(error.remedy, "");
    return true;
  });
}

/** A header, then so many bytes of f32 ones that no test should hold them. */
function endlessSource(
  header: Uint8Array,
  dataBytes: number,
  begins: number[],
): NonNullable<Awaited<ReturnType<ModelFiles["open"]>>> {
  const source: ByteSource = {
    name: "model.safetensors",
    size: header.length + dataBytes,
    read: async (offset, length) => {
      if (offset < header.length) return Uint8Array.from(header.subarray(offset, offset + length));
      assert.ok(length <= 64 * 2 ** 20);
      begins.push(offset - header.length);
      return new Uint8Array(new Float32Array(length / 4).fill(1).buffer);
    },
  };
  return source;
}
