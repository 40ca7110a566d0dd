import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TensorFormat } from "../../../engine/api.ts";
import { decoderOf } from "../../../engine/formats/decode.ts";
import { bytesOf, LAYOUTS } from "../../../engine/formats/layouts.ts";
import { goldenFile } from "../../support/goldenModels.ts";

const vectors = goldenFile("quant_gguf_blocks.json") as Record<string, { bytes: number; hex: string; decoded: number[] }>;
const random = goldenFile("gguf_blocks.json") as { formats: Record<string, { bytes: string; values: string }> };

describe("blocks of ggml", () => {
  for (const [name, { bytes, hex, decoded }] of Object.entries(vectors)) {
    const format = formatNamed(name);
    it(`decodes the block of the vectors exactly: ${format}`, () => {
      assert.equal(LAYOUTS[format].bytes, bytes);
      assertSame(decode(format, Uint8Array.from(Buffer.from(hex, "hex"))), Float32Array.from(decoded), format);
    });
  }

  for (const [name, { bytes, values }] of Object.entries(random.formats)) {
    const format = formatNamed(name);
    it(`decodes any bytes as the gguf package does, also beside scales of zero, the smallest and the largest: ${format}`, () => {
      const expected = new Float32Array(Uint8Array.from(Buffer.from(values, "base64")).buffer);
      assertSame(decode(format, Uint8Array.from(Buffer.from(bytes, "base64"))), expected, format);
    });
  }

  it("covers every format that is in blocks", () => {
    const inBlocks = Object.keys(LAYOUTS).filter((name) => LAYOUTS[formatNamed(name)].numbers > 1);
    assert.deepEqual(inBlocks.filter((name) => !name.startsWith("affine")).sort(), Object.keys(random.formats).sort());
  });

  it("decodes from any place in memory into any place", () => {
    const { bytes, values } = random.formats["q6_k"] ?? assert.fail("no q6_k");
    const block = Uint8Array.from(Buffer.from(bytes, "base64"));
    const shifted = new Uint8Array(block.length + 3);
    shifted.set(block, 3);
    const room = new Float32Array((block.length / 210) * 256 + 1);
    decoderOf("q6_k")(shifted.subarray(3), room.subarray(1));
    assertSame(room.subarray(1), new Float32Array(Uint8Array.from(Buffer.from(values, "base64")).buffer), "shifted");
  });
});

describe("affine blocks", () => {
  const scaleAndOffset = [...new Uint8Array(Float32Array.of(0.5, -3).buffer)];

  it("hold 32 codes of four bits: nibble i low, nibble i + 16 high", () => {
    const codes = Array.from({ length: 16 }, (_, i) => i | ((15 - i) << 4));
    const values = decode("affine4", Uint8Array.of(...scaleAndOffset, ...codes));
    assert.deepEqual(
      [...values],
      Array.from({ length: 32 }, (_, i) => 0.5 * (i < 16 ? i : 31 - i) - 3),
    );
  });

  it("hold 32 codes of eight bits", () => {
    const codes = Array.from({ length: 32 }, (_, i) => 255 - 8 * i);
    const values = decode("affine8", Uint8Array.of(...scaleAndOffset, ...codes));
    assert.deepEqual(
      [...values],
      codes.map((code) => 0.5 * code - 3),
    );
  });

  it("only whole blocks have a size", () => {
    assert.equal(bytesOf("affine4", 64), 48);
    assert.equal(bytesOf("q4_k", 512), 288);
    assert.throws(() => bytesOf("affine4", 48), RangeError);
  });
});

function formatNamed(name: string): TensorFormat {
  const lower = name.toLowerCase();
  const known = Object.keys(LAYOUTS) as TensorFormat[];
  return known.find((format) => format === lower) ?? assert.fail(`no format ${name}`);
}

function decode(format: TensorFormat, bytes: Uint8Array): Float32Array {
  const { numbers, bytes: blockBytes } = LAYOUTS[format];
  const values = new Float32Array((bytes.length / blockBytes) * numbers);
  decoderOf(format)(bytes, values);
  return values;
}

/** Equal bit for bit but for the kind of NaN: zeros keep their sign. */
function assertSame(found: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(found.length, expected.length);
  for (const [index, value] of expected.entries())
    assert.ok(Object.is(found[index], value), `${what}: weight ${index} is ${found[index]} and should be ${value}`);
}
