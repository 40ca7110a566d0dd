/**
 * Spoilt headers: whatever they say, reading one ends soon, with tensors inside the file or with an error of ours, and neither reads
 * outside the file nor makes an array larger than it.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { ByteSource, ModelSpec } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { decoderOf } from "../../../engine/formats/decode.ts";
import { openGguf } from "../../../engine/formats/ggufStore.ts";
import { openSafetensors } from "../../../engine/formats/safetensors.ts";
import type { NamedStore } from "../../../engine/formats/tensorStore.ts";
import { loadModel } from "../../../engine/models/load.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { largestAllocation } from "../../support/allocations.ts";
import { ggufFile } from "../../support/ggufFile.ts";
import { memoryFiles, safetensorsFile } from "../../support/memoryFiles.ts";
import { seeded } from "../../support/random.ts";

const ROUNDS = 100_000;
/** A q2_k block of 84 bytes is 1 KiB of f32; no other format grows more. */
const LARGEST_GROWTH = 13;

const gguf = ggufFile(
  {
    "general.architecture": ["string", "llama"],
    "general.alignment": ["u32", 32],
    "llama.rope.freq_base": ["f32", 10000],
    large: ["u64", 2n ** 60n],
    flag: ["bool", true],
    words: ["strings", ["<s>", "a", "", "b\u00f6c"]],
    numbers: ["i32s", [1, -2, 3]],
    scores: ["f32s", [0.5, -1]],
    bytes: ["u8s", [1, 2, 3, 4]],
    flags: ["raw", { type: 9, bytes: [7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0] }],
  },
  [
    { name: "token_embd.weight", dimensions: [32, 2], type: 8, offset: 0 },
    { name: "blk.0.attn_q.weight", dimensions: [4, 2, 2], type: 1, offset: 96 },
    { name: "blk.0.ffn_up.weight", dimensions: [256], type: 10, offset: 128 },
    { name: "output_norm.weight", dimensions: [4], type: 0, offset: 224 },
  ],
  new Uint8Array(240),
);
const ggufHeaderBytes = gguf.length - 240;

const safetensors = safetensorsFile({
  "model.embed_tokens.weight": { shape: [4, 2], values: [1, 2, 3, 4, 5, 6, 7, 8] },
  "model.norm.weight": { shape: [2], values: [1, 1] },
  scalar: { shape: [], values: [5] },
});
const safetensorsHeaderBytes = safetensors.length - 44;

const index = JSON.stringify({
  metadata: { total_size: 44 },
  weight_map: { "model.norm.weight": "model-00001-of-00002.safetensors", scalar: "model-00002-of-00002.safetensors" },
});

describe("spoilt headers", () => {
  it(`GGUF, ${ROUNDS} of them`, async () => {
    const random = seeded(4);
    await fuzz(ROUNDS, () => {
      const bytes = spoilt(gguf, ggufHeaderBytes, random);
      return {
        limit: bytes.length,
        open: async (reads) => (await openGguf(counted({ "m.gguf": bytes }, reads), "m.gguf")).store,
      };
    });
  });

  it(`GGUF models, ${ROUNDS / 50} of them, up to facts and weights`, async () => {
    const random = seeded(7);
    const model = Uint8Array.from(readFileSync("test/golden/gguf/converted/llama_biases.gguf"));
    const { header } = await openGguf(memoryFiles({ "m.gguf": model }), "m.gguf");
    let opened = 0;
    for (let round = 0; round < ROUNDS / 50; round++) {
      const bytes = spoilt(model, header.dataStart, random);
      try {
        const { spec, weights } = await loadModel({ ...memoryFiles({ "m.gguf": bytes }), ggufName: "m.gguf" });
        await weights.readRows(finalNorm(spec));
        opened++;
      } catch (error) {
        assert.ok(error instanceof EngineError, `round ${round}: ${String(error)}`);
      }
    }
    assert.ok(opened > 100, `only ${opened} opened`);
  });

  it(`safetensors, ${ROUNDS} of them`, async () => {
    const random = seeded(5);
    await fuzz(ROUNDS, () => {
      const bytes =
        random() < 0.5
          ? spoilt(safetensors, safetensorsHeaderBytes, random)
          : respelt(safetensors, safetensorsHeaderBytes, random);
      return { limit: bytes.length, open: (reads) => openSafetensors(counted({ "model.safetensors": bytes }, reads)) };
    });
  });

  it(`indexes of shards, ${ROUNDS / 5} of them`, async () => {
    const random = seeded(6);
    const text = new TextEncoder().encode(index);
    await fuzz(ROUNDS / 5, () => {
      const bytes = random() < 0.5 ? spoilt(text, text.length, random) : respeltText(index, random);
      const files = {
        "model.safetensors.index.json": new TextDecoder().decode(bytes),
        "model-00001-of-00002.safetensors": safetensors,
        "model-00002-of-00002.safetensors": safetensors,
      };
      return { limit: bytes.length + 2 * safetensors.length, open: (reads) => openSafetensors(counted(files, reads)) };
    });
  });
});

function finalNorm(spec: ModelSpec): string {
  return [...tensorShapes(spec).keys()].find((name) => name.endsWith("norm.weight")) ?? assert.fail("no norm");
}

interface Round {
  /** Bytes there are. */
  limit: number;
  open: (reads: number[]) => Promise<NamedStore>;
}

async function fuzz(rounds: number, next: () => Round): Promise<void> {
  // Tables of formats are made once, whatever file comes first.
  for (const format of ["f16", "q2_k"] as const) decoderOf(format)(new Uint8Array(), new Float32Array());
  // Half of the time would go into stacks that nobody reads.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  let [opened, refused] = [0, 0];
  let limit = 0;
  const largest = await largestAllocation(async () => {
    for (let round = 0; round < rounds; round++) {
      const { limit: size, open } = next();
      limit = Math.max(limit, size);
      const reads: number[] = [];
      try {
        const store = await open(reads);
        const names = [...store.names()];
        const name = names[round % names.length];
        if (name !== undefined) await readsInside(store, name, size);
        opened++;
      } catch (error) {
        assert.ok(
          error instanceof EngineError && ["bad-weights", "weights-missing"].includes(error.code),
          `round ${round}: ${String(error)}`,
        );
        refused++;
      }
      // A header is read in pieces that begin where the last value ended, so a byte may be read twice, and tensors once more.
      const sum = reads.reduce((total, bytes) => total + bytes, 0);
      assert.ok(sum <= 4 * size, `round ${round}: ${sum} bytes read of ${size}`);
    }
  });
  Error.stackTraceLimit = stackTraceLimit;
  assert.ok(largest <= LARGEST_GROWTH * limit, `an array of ${largest} bytes for files of ${limit}`);
  assert.ok(opened > rounds / 100 && refused > rounds / 10, `${opened} opened, ${refused} refused`);
}

/** What a header says of a tensor lies inside the file, so reading it works, or its type is not known. */
async function readsInside(store: NamedStore, name: string, size: number): Promise<void> {
  try {
    const bytes = await store.readBytes(name);
    assert.ok(bytes.length <= size, `${name}: ${bytes.length} bytes`);
    const values = await store.readRows(name);
    assert.equal(
      values.length,
      store.shape(name).reduce((product, length) => product * length, 1),
    );
  } catch (error) {
    assert.ok(EngineError.is(error, "bad-weights") && /does not read/.test(error.message), `${name}: ${String(error)}`);
  }
}

/** Files in memory that refuse reads outside them and note how much was read. */
function counted(content: Readonly<Record<string, string | Uint8Array>>, reads: number[]) {
  const files = memoryFiles(content, reads);
  return {
    ...files,
    open: async (name: string): Promise<ByteSource | undefined> => {
      const source = await files.open(name);
      return (
        source && {
          ...source,
          read: (offset: number, length: number) => {
            assert.ok(offset >= 0 && length >= 0 && offset + length <= source.size, `read of ${length} at ${offset}`);
            return source.read(offset, length);
          },
        }
      );
    },
  };
}

const BYTES = [0, 1, 4, 7, 8, 9, 0x20, 0x22, 0x7f, 0x80, 0xff];
const WORDS = [0n, 1n, 255n, 2n ** 16n, 2n ** 31n, 2n ** 32n, 2n ** 32n + 1n, 2n ** 53n, 2n ** 62n, 2n ** 63n, 2n ** 64n - 1n];

/** One to three changes in the first `headerBytes`: bytes and words set, stretches cut out, doubled or turned round, the file cut off. */
function spoilt(whole: Uint8Array, headerBytes: number, random: () => number): Uint8Array {
  const pick = (below: number): number => Math.floor(random() * below);
  let bytes = whole.slice();
  for (let changes = 1 + pick(3); changes > 0; changes--) {
    const at = pick(Math.min(headerBytes, bytes.length));
    const end = Math.min(bytes.length, at + 1 + pick(24));
    switch (pick(8)) {
      case 0:
        bytes[at] = pick(256);
        break;
      case 1:
        bytes[at] = BYTES[pick(BYTES.length)] ?? 0;
        break;
      case 2:
        bytes[at] ^= 1 << pick(8);
        break;
      case 3:
        if (at + 8 <= bytes.length) new DataView(bytes.buffer).setBigUint64(at, WORDS[pick(WORDS.length)] ?? 0n, true);
        break;
      case 4:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(end));
        break;
      case 5:
        bytes = joined(bytes.subarray(0, end), bytes.subarray(at));
        break;
      case 6:
        bytes.subarray(at, end).reverse();
        break;
      default:
        if (pick(4) === 0) bytes = bytes.slice(0, pick(bytes.length));
        else bytes[at] = (bytes[at] ?? 0) + 1;
    }
  }
  return bytes;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const TOKENS = [
  "0",
  "-1",
  "1e308",
  "9007199254740993",
  "4294967296",
  "0.5",
  "null",
  "true",
  "[]",
  "{}",
  '"x"',
  '""',
  "Infinity",
  "[[1]]",
];

/** The same with tokens of its JSON exchanged, and a length that is right again. */
function respelt(whole: Uint8Array, headerBytes: number, random: () => number): Uint8Array {
  const header = respeltText(new TextDecoder().decode(whole.subarray(8, headerBytes)), random);
  const length = new Uint8Array(BigUint64Array.of(BigInt(header.length)).buffer);
  return joined(length, header, whole.subarray(headerBytes));
}

function respeltText(text: string, random: () => number): Uint8Array {
  const tokens = text.match(/"[^"]*"|[\d.]+|\w+|./gs) ?? [];
  for (let changes = 1 + Math.floor(2 * random()); changes > 0; changes--) {
    const at = Math.floor(random() * tokens.length);
    const other = Math.floor(random() * tokens.length);
    tokens[at] = (random() < 0.7 ? TOKENS[other % TOKENS.length] : tokens[other]) ?? "";
  }
  return new TextEncoder().encode(tokens.join(""));
}
