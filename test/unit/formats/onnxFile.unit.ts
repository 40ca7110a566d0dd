import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { EngineError, type ErrorCode } from "../../../engine/errors.ts";
import { openOnnx } from "../../../engine/formats/onnxFile.ts";
import { memoryFiles } from "../../support/memoryFiles.ts";
import {
  bytesField,
  initializerField,
  nodeField,
  numberField,
  onnxFile,
  type OnnxInitializer,
  type ProtoBytes,
  textField,
  varint,
} from "../../support/onnxFile.ts";
import { seeded } from "../../support/random.ts";

type Files = Readonly<Record<string, string | Uint8Array>>;
const open = (bytes: Uint8Array, others: Files = {}, reads: number[] = []) =>
  openOnnx(memoryFiles({ "model.onnx": bytes, ...others }, reads), "model.onnx");

async function refuses(bytes: Uint8Array, message: RegExp, code: ErrorCode = "bad-weights", others: Files = {}): Promise<void> {
  await assert.rejects(open(bytes, others), (error) => {
    assert.ok(EngineError.is(error, code), `expected ${code}, got ${String(error)}`);
    assert.match(error.message, message);
    assert.notEqual(error.remedy, "");
    return true;
  });
}

const floats = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
const inside: OnnxInitializer = { name: "a", dims: [2, 2], type: 1, raw: floats };
const outside = (external: Readonly<Record<string, string>>): OnnxInitializer => ({
  ...{ name: "b", dims: [2], type: 1 },
  external: { location: "data.bin", ...external },
});

describe("ONNX files", () => {
  it("give initializers that lie inside and beside them, and the nodes with their whole-number attributes", async () => {
    const node = { name: "/n", op: "MatMulNBits", inputs: ["x", "a", ""], numbers: { bits: 4, shift: -3n } };
    const file = onnxFile(nodeField(node), initializerField(inside), initializerField(outside({ offset: "4", length: "8" })));
    const { store, nodes } = await open(file, { "data.bin": new Uint8Array(Float32Array.of(9, 5, 6).buffer) });
    assert.deepEqual([...store.names()], ["a", "b"]);
    assert.deepEqual([...(await store.readRows("a", 1, 2))], [3, 4]);
    assert.deepEqual([...(await store.readRows("b"))], [5, 6]);
    assert.deepEqual(nodes, [
      {
        name: "/n",
        op: "MatMulNBits",
        inputs: ["x", "a", ""],
        outputs: ["y"],
        numbers: new Map([
          ["bits", 4],
          ["shift", -3],
        ]),
      },
    ]);
  });

  it("may pack their dimensions, leave out offset and length, and hold types that only matter when asked for", async () => {
    const packed = bytesField(5, [
      ...bytesField(1, [...varint(2), ...varint(300)]),
      ...numberField(2, 2),
      ...textField(8, "p"),
      ...bytesField(9, new Uint8Array(600)),
    ]);
    const listed = bytesField(5, [
      ...numberField(1, 1),
      ...numberField(2, 1),
      ...textField(8, "l"),
      ...bytesField(4, [0, 0, 0, 0]),
    ]);
    const { store } = await open(onnxFile(packed, listed, initializerField(outside({}))), { "data.bin": floats });
    assert.deepEqual([store.shape("p"), store.format("p")], [[2, 300], "u8"]);
    assert.deepEqual([...(await store.readRows("b"))], [1, 2]);
    assert.throws(() => store.format("l"), /does not read/);
  });

  it("are stepped through: tensor data is not read", async () => {
    const reads: number[] = [];
    const large = { ...inside, name: "large", dims: [2 ** 17], raw: new Uint8Array(2 ** 19) };
    await open(onnxFile(initializerField(large), initializerField(inside)), {}, reads);
    assert.ok(reads.reduce((sum, bytes) => sum + bytes, 0) <= 3 * 2 ** 16, String(reads));
  });

  it("may have the same bytes twice, as tied tables are", async () => {
    const twice = [outside({ length: "8" }), { ...outside({ length: "8" }), name: "c" }];
    const { store } = await open(onnxFile(...twice.map(initializerField)), { "data.bin": floats });
    assert.deepEqual(await store.readRows("c"), await store.readRows("b"));
  });
});

describe("attacks on ONNX files", () => {
  const graph = (...fields: readonly ProtoBytes[]): Uint8Array => onnxFile(...fields);
  const field = (changes: Partial<OnnxInitializer>): Uint8Array => graph(initializerField({ ...inside, ...changes }));

  it("no graph, no ONNX, nothing", async () => {
    await refuses(Uint8Array.from(numberField(1, 10)), /no graph/);
    await refuses(new Uint8Array(), /no graph/);
    await refuses(new TextEncoder().encode("<!doctype html>"), /model\.onnx/);
    await assert.rejects(openOnnx(memoryFiles({}), "model.onnx"), { code: "not-found" });
  });

  it("lengths beyond the message, up to 2^64 - 1", async () => {
    for (const length of [17n, 2n ** 31n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])
      await refuses(Uint8Array.from([...varint(7 * 8 + 2), ...varint(length), 0, 0]), /bytes in a message|field/);
    await refuses(graph([...varint(5 * 8 + 2), ...varint(100), 0]), /100 bytes in a message/);
    await refuses(graph([...varint(5 * 8 + 1), 0]), /ends behind its message/);
  });

  it("numbers without end, kinds that do not exist, field 0", async () => {
    await refuses(
      Uint8Array.from({ length: 30 }, () => 0xff),
      /number without end/,
    );
    await refuses(Uint8Array.of(0x0b), /unknown kind 3/);
    await refuses(Uint8Array.of(0x00, 0x00), /field of number 0/);
    await refuses(Uint8Array.of(0x80), /number without end/);
  });

  it("dimensions that overflow 2^53 or 2^64, negative ones, too many", async () => {
    await refuses(field({ dims: [2 ** 32, 2 ** 32] }), /it needs 7378697629483821/);
    await refuses(field({ dims: [2 ** 31, 2 ** 31] }), /it needs/);
    await refuses(field({ dims: [-1n, -4n] }), /dimension of -1/);
    await refuses(field({ dims: [2n ** 60n] }), /dimension of 1152921504606846976/);
    await refuses(field({ dims: [4, ...Array.from({ length: 8 }, () => 1)] }), /more than 8 dimensions/);
    await refuses(field({ dims: [0] }), /it needs 0/);
    const packed = bytesField(5, [...bytesField(1, new Uint8Array(100)), ...textField(8, "p")]);
    await refuses(graph(packed), /more than 8/);
  });

  it("data files outside the folder, missing, too short, or at no place", async () => {
    const at = (external: Readonly<Record<string, string>>) => graph(initializerField(outside(external)));
    for (const location of ["../data.bin", "/etc/passwd", "a\\b", "..", ".", "a\0b", ""])
      await refuses(at({ location }), /places a tensor in|does not read|no graph/, "bad-weights", { "data.bin": floats });
    await refuses(at({}), /no data\.bin/, "weights-missing");
    const others = { "data.bin": floats };
    await refuses(at({ offset: "12", length: "8" }), /behind the end of data\.bin/, "bad-weights", others);
    await refuses(at({ offset: "9007199254740991" }), /behind the end/, "bad-weights", others);
    for (const offset of ["-8", "1e3", "0x10", "", "99999999999999999", "Infinity"])
      await refuses(at({ offset }), /the offset/, "bad-weights", others);
    await refuses(at({ length: "4" }), /in 4 bytes; it needs 8/, "bad-weights", others);
  });

  it("tensors over each other, twice, without a name", async () => {
    const others = { "data.bin": floats };
    const over = [outside({ offset: "0" }), { ...outside({ offset: "4" }), name: "c" }];
    await refuses(graph(...over.map(initializerField)), /c over b/, "bad-weights", others);
    await refuses(graph(initializerField(inside), initializerField(inside)), /initializer a twice/);
    await refuses(field({ name: "" }), /without a name/);
  });

  it("names of 128 KiB, nodes with thousands of inputs", async () => {
    await refuses(field({ name: "n".repeat(2 ** 17) }), /name of 131072 bytes/);
    const inputs = Array.from({ length: 2000 }, (_, index) => `i${index}`);
    await refuses(graph(nodeField({ name: "n", op: "Add", inputs, numbers: {} })), /more than 1024 values/);
  });

  it("any spoilt byte: a store whose tensors can be read, or an error of ours", async () => {
    const random = seeded(21);
    const whole = Uint8Array.from(readFileSync("test/golden/onnx/qwen2_untied/model.onnx"));
    const data = Uint8Array.from(readFileSync("test/golden/onnx/qwen2_untied/model.onnx.data"));
    // The part with the initializers.
    const first = Buffer.from(whole).indexOf("model.embed_tokens.weight");
    let opened = 0;
    for (let round = 0; round < 150; round++) {
      const spoilt = whole.slice(0, round % 4 === 0 ? Math.floor(random() * whole.length) : whole.length);
      const from = round % 2 === 0 ? 0 : first;
      for (let changes = 0; changes < 2; changes++) {
        const at = from + Math.floor(random() * (spoilt.length - from));
        if (at < spoilt.length) spoilt[at] = Math.floor(random() * 256);
      }
      const reads: number[] = [];
      try {
        const { store } = await open(spoilt, { "model.onnx.data": data }, reads);
        const [name] = store.names();
        if (name !== undefined) await store.readBytes(name);
        opened++;
      } catch (error) {
        assert.ok(error instanceof EngineError, `round ${round}: ${String(error)}`);
      }
      assert.ok(reads.every((bytes) => bytes <= whole.length + data.length));
    }
    assert.ok(opened > 10, `${opened} opened`);
  });
});
