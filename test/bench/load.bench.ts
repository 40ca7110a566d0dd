/**
 * How fast weights stream from files of 3 GB, and how much memory that takes beside what is asked for. The files are sparse: what is
 * measured is reading, decoding and picking rows, not a disk. `node test/run.mjs bench load`.
 */
import assert from "node:assert/strict";
import { open, stat, writeFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import type { ModelFiles, TensorFormat } from "../../engine/api.ts";
import { bytesOf } from "../../engine/formats/layouts.ts";
import { loadModel } from "../../engine/models/load.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import { tensorShapes } from "../../engine/models/weights.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { type GgufEntry, ggufFile } from "../support/ggufFile.ts";
import { withTempTree } from "../support/tempTree.ts";
import { keepResults } from "./results.ts";

/** What a backend reads at a time. */
const PIECE_BYTES = 64 * 2 ** 20;
const LIMIT_MIB = 300;

interface Figures {
  gigabytes: number;
  tensors: number;
  openMs: number;
  asInFile: { megabytesPerSecond: number; extraMiB: number };
  asFloats: { megabytesPerSecond: number; extraMiB: number };
}

it("3 GB of weights stream with less than 300 MiB beside them", { timeout: 600_000 }, async () => {
  // Above the number of cores, others were at work and a quiet machine reads faster.
  const loadAverage = Number((loadavg()[0] ?? 0).toFixed(1));
  await withTempTree({}, async (folder) => {
    await writeGguf(join(folder, "model.gguf"));
    const gguf = await measure({ ...nodeModelFiles(folder), ggufName: "model.gguf" }, "q8_0", join(folder, "model.gguf"));
    await writeSafetensors(folder);
    const safetensors = await measure(nodeModelFiles(folder), "bf16", join(folder, "model.safetensors"));
    keepResults("load", "node test/run.mjs bench load", { loadAverage, limitMiB: LIMIT_MIB, gguf, safetensors });
  });
});

async function measure(files: ModelFiles & { close(): Promise<void> }, format: TensorFormat, path: string): Promise<Figures> {
  const { size } = await stat(path);
  const before = process.memoryUsage().rss;
  const began = performance.now();
  const { spec, weights } = await loadModel(files);
  const openMs = Math.round(performance.now() - began);
  const names = [...tensorShapes(spec).keys()];
  const watch = { peak: before };
  const asInFile = await timed(before, watch, async () => {
    let bytes = 0;
    for (const name of names) {
      const rowBytes = bytesOf(weights.format(name), rowNumbers(weights.shape(name)));
      for (const [start, end] of pieces(weights.shape(name)[0] ?? 1, rowBytes)) {
        const piece = await weights.readBytes(name, start, end);
        assert.equal(piece.length, (end - start) * rowBytes);
        bytes += piece.length;
        watch.peak = Math.max(watch.peak, process.memoryUsage().rss);
      }
    }
    return bytes;
  });
  const asFloats = await timed(before, watch, async () => {
    let bytes = 0;
    for (const name of names) {
      const shape = weights.shape(name);
      for (const [start, end] of pieces(shape[0] ?? 1, rowNumbers(shape) * 4)) {
        const values = await weights.readRows(name, start, end);
        assert.equal(values.length, (end - start) * rowNumbers(shape));
        // The first and the last number of every matrix are marks.
        if (shape.length === 2 && start === 0) assert.equal(values[0], FIRST);
        if (shape.length === 2 && end === shape[0]) assert.equal(values.at(-1), LAST);
        bytes += bytesOf(weights.format(name), values.length);
        watch.peak = Math.max(watch.peak, process.memoryUsage().rss);
      }
    }
    return bytes;
  });
  await files.close();
  assert.ok(names.filter((name) => weights.format(name) === format).length > 100);
  for (const { extraMiB } of [asInFile, asFloats])
    assert.ok(extraMiB < LIMIT_MIB, `${extraMiB} MiB beside what was there before`);
  process.stdout.write(
    `${path.split("/").at(-1)}: ${(size / 1e9).toFixed(2)} GB, ${JSON.stringify({ openMs, asInFile, asFloats })}\n`,
  );
  return { gigabytes: Number((size / 1e9).toFixed(2)), tensors: names.length, openMs, asInFile, asFloats };
}

async function timed(before: number, watch: { peak: number }, work: () => Promise<number>): Promise<Figures["asInFile"]> {
  watch.peak = before;
  const began = performance.now();
  const bytes = await work();
  const seconds = (performance.now() - began) / 1000;
  return {
    megabytesPerSecond: Math.round(bytes / 1e6 / seconds),
    extraMiB: Math.round((watch.peak - before) / 2 ** 20),
  };
}

function* pieces(rows: number, rowBytes: number): Generator<readonly [start: number, end: number]> {
  const step = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
  for (let start = 0; start < rows; start += step) yield [start, Math.min(rows, start + step)];
}

function rowNumbers(shape: readonly number[]): number {
  return shape.slice(1).reduce((product, size) => product * size, 1);
}

const [FIRST, LAST] = [3, -5];

/** Llama-3.2-3B in Q8_0. */
async function writeGguf(path: string): Promise<void> {
  const vocabulary = Array.from({ length: 128_256 }, (_, id) => `token${id}`);
  const metadata: Record<string, GgufEntry> = {
    "general.architecture": ["string", "llama"],
    "llama.block_count": ["u32", 28],
    "llama.context_length": ["u32", 131_072],
    "llama.embedding_length": ["u32", 3072],
    "llama.feed_forward_length": ["u32", 8192],
    "llama.attention.head_count": ["u32", 24],
    "llama.attention.head_count_kv": ["u32", 8],
    "llama.attention.layer_norm_rms_epsilon": ["f32", 1e-5],
    "llama.rope.freq_base": ["f32", 500_000],
    "tokenizer.ggml.model": ["string", "gpt2"],
    "tokenizer.ggml.tokens": ["strings", vocabulary],
  };
  const layer: [name: string, shape: number[]][] = [
    ["attn_norm", [3072]],
    ["attn_q", [3072, 3072]],
    ["attn_k", [1024, 3072]],
    ["attn_v", [1024, 3072]],
    ["attn_output", [3072, 3072]],
    ["ffn_norm", [3072]],
    ["ffn_gate", [8192, 3072]],
    ["ffn_up", [8192, 3072]],
    ["ffn_down", [3072, 8192]],
  ];
  const shapes: [name: string, shape: number[]][] = [
    ["token_embd.weight", [vocabulary.length, 3072]],
    ...Array.from({ length: 28 }, (_, index) =>
      layer.map(([name, shape]): [string, number[]] => [`blk.${index}.${name}.weight`, shape]),
    ).flat(),
    ["output_norm.weight", [3072]],
  ];
  let offset = 0;
  const entries = shapes.map(([name, shape]) => {
    const numbers = shape.reduce((product, size) => product * size, 1);
    const bytes = bytesOf(shape.length === 1 ? "f32" : "q8_0", numbers);
    const entry = { name, dimensions: [...shape].reverse(), type: shape.length === 1 ? 0 : 8, offset, bytes };
    offset += Math.ceil(bytes / 32) * 32;
    return entry;
  });
  const header = ggufFile(metadata, entries);
  const block = (at: number, value: number): Uint8Array => {
    const bytes = new Uint8Array(34);
    // A scale of 1.
    bytes.set([0x00, 0x3c]);
    bytes[2 + at] = value;
    return bytes;
  };
  const marks = entries
    .filter(({ type }) => type === 8)
    .flatMap(({ offset, bytes }) => [
      { at: header.length + offset, bytes: block(0, FIRST) },
      { at: header.length + offset + bytes - 34, bytes: block(31, LAST) },
    ]);
  await writeSparse(path, header, header.length + offset, marks);
}

/** Qwen2.5-1.5B in BF16. */
async function writeSafetensors(folder: string): Promise<void> {
  const config = {
    ...{ model_type: "qwen2", vocab_size: 151_936, hidden_size: 1536, intermediate_size: 8960, num_hidden_layers: 28 },
    ...{ num_attention_heads: 12, num_key_value_heads: 2, max_position_embeddings: 32_768, rms_norm_eps: 1e-6 },
    ...{ rope_theta: 1e6, tie_word_embeddings: true },
  };
  const marks: { at: number; bytes: Uint8Array }[] = [];
  let offset = 0;
  const bf16 = (value: number): Uint8Array => new Uint8Array(Float32Array.of(value).buffer).slice(2);
  const header: Record<string, unknown> = {};
  for (const [name, shape] of tensorShapes(parseSpec(config))) {
    const end = offset + shape.reduce((product, size) => product * size, 1) * 2;
    header[name] = { dtype: "BF16", shape, data_offsets: [offset, end] };
    if (shape.length === 2) marks.push({ at: offset, bytes: bf16(FIRST) }, { at: end - 2, bytes: bf16(LAST) });
    offset = end;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = new Uint8Array(8 + text.length);
  new DataView(start.buffer).setBigUint64(0, BigInt(text.length), true);
  start.set(text, 8);
  await writeSparse(
    join(folder, "model.safetensors"),
    start,
    start.length + offset,
    marks.map(({ at, bytes }) => ({ at: start.length + at, bytes })),
  );
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  await writeFile(join(folder, "tokenizer.json"), "{}");
}

async function writeSparse(
  path: string,
  header: Uint8Array,
  size: number,
  marks: readonly { at: number; bytes: Uint8Array }[],
): Promise<void> {
  const handle = await open(path, "w");
  try {
    await handle.truncate(size);
    await handle.write(header, 0, header.length, 0);
    for (const { at, bytes } of marks) await handle.write(bytes, 0, bytes.length, at);
  } finally {
    await handle.close();
  }
}
