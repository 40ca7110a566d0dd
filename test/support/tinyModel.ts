import type { ByteSource, ModelFiles, SnapshotFile } from "../../engine/api.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import { tensorShapes } from "../../engine/models/weights.ts";
import { seeded } from "./random.ts";
import { byteLevelJson, isolatedSplit } from "./tinyTokenizer.ts";

/** Words stay apart from blanks and a line break is one token, as in the bundled tokenizer. */
const PATTERN = "\\n|[A-Za-z_$][A-Za-z0-9_$]*|[0-9]+|[^ \\t\\r\\nA-Za-z0-9_$]+|[ \\t\\r]+";

const MERGES: [string, string][] = [
  ["c", "o"],
  ["n", "s"],
  ["co", "ns"],
  ["cons", "t"],
  ["Ġ", "Ġ"],
  ["=", "="],
  ["==", "="],
];

export const tinyTokenizerJson = byteLevelJson({
  preTokenizer: isolatedSplit(PATTERN),
  merges: MERGES,
  special: ["<|end|>", "<|pad|>", "<|absent|>"],
});

export const tinyChatTemplate =
  "{% for message in messages %}[{{ message.role }}]{{ message.content }}<|end|>{% endfor %}[assistant]";

export interface TinyModelOptions {
  /** `chat` has a template, and a vocabulary in which every token has a text. */
  promptFormat?: "extractive" | "plain" | "chat";
  /** An extractive model's answer may have several lines. */
  answerLines?: "many";
  maxPositions?: number;
  /** Layers; two by default. */
  layers?: number;
}

/** A random model of a few small layers in an extractive model folder held in memory. */
export function tinyModelFiles(options: TinyModelOptions = {}): ModelFiles {
  const contents = new Map(Object.entries(tinyModelContents(options)));
  const text = (name: string): string | undefined => {
    const content = contents.get(name);
    return typeof content === "string" ? content : undefined;
  };
  return {
    label: "tiny",
    text: async (name) => text(name),
    open: async (name) => {
      const content = contents.get(name);
      return content instanceof Uint8Array ? memorySource(name, content) : undefined;
    },
  };
}

/** The same folder's files by name, to be written to disk. */
export function tinyModelContents(options: TinyModelOptions = {}): Record<string, string | Uint8Array<ArrayBuffer>> {
  const config = {
    model_type: "lcp_keyshift",
    vocab_size: options.promptFormat === "chat" ? 266 : 320,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: options.layers ?? 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 16,
    rms_norm_eps: 1e-5,
    max_position_embeddings: options.maxPositions ?? 1024,
    rope_theta: 10000,
    tie_word_embeddings: true,
    embedding_multiplier: 5.6,
    eos_token_id: [0],
    absent_token_id: 2,
    prompt_format: options.promptFormat ?? "extractive",
    ...(options.answerLines ? { answer_lines: options.answerLines } : {}),
  };
  return {
    ...(options.promptFormat === "chat" ? { "chat_template.jinja": tinyChatTemplate } : {}),
    "config.json": JSON.stringify(config),
    "tokenizer.json": JSON.stringify(tinyTokenizerJson),
    "model.safetensors": safetensors(config),
  };
}

/** Files with their bytes, and how often each was read. */
export function memoryWorkspace(contents: Readonly<Record<string, string | Uint8Array>>) {
  const bytes = new Map(
    Object.entries(contents).map(([path, content]) => [
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    ]),
  );
  const reads: string[] = [];
  const files: SnapshotFile[] = [...bytes].map(([path, content]) => ({
    path,
    hash: contentHash(content),
    sizeBytes: content.length,
  }));
  const readFile = async (file: SnapshotFile) => {
    reads.push(file.path);
    return bytes.get(file.path) ?? new Uint8Array();
  };
  return { files, reads, readFile };
}

function contentHash(bytes: Uint8Array): string {
  return `h${bytes.reduce((sum, byte) => (Math.imul(sum, 31) + byte) >>> 0, bytes.length)}`;
}

function memorySource(name: string, bytes: Uint8Array<ArrayBuffer>): ByteSource {
  return { name, size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
}

function safetensors(config: unknown): Uint8Array<ArrayBuffer> {
  const random = seeded(11);
  const header: Record<string, unknown> = {};
  const values: number[] = [];
  for (const [name, shape] of tensorShapes(parseSpec(config))) {
    const start = values.length * 4;
    const count = shape.reduce((product, size) => product * size, 1);
    for (let i = 0; i < count; i++) values.push(name.includes("norm") ? 1 : (random() - 0.5) * 0.5);
    header[name] = { dtype: "F32", shape, data_offsets: [start, values.length * 4] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header).padEnd(8 * Math.ceil(JSON.stringify(header).length / 8)));
  const bytes = new Uint8Array(8 + json.length + 4 * values.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(new Uint8Array(Float32Array.from(values).buffer), 8 + json.length);
  return bytes;
}
