import { readFileSync, writeFileSync } from "node:fs";
import { encodings, type PresetName, readPreset } from "../../engine/tokenizer/presets.ts";
import { loadTokenizer } from "../../engine/tokenizer/load.ts";
import { rankTokenizer } from "../../engine/tokenizer/tiktoken.ts";
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import { rwkvTokenizer, sentencePieceTokenizer } from "../support/tokenizerKinds.ts";
import { readCorpus } from "./countCorpus.ts";

/** Counts a text that is at hand both as a string and as UTF-8. */
type Count = (text: string, bytes: Uint8Array) => number;

/** Loads an engine with o200k; the time this takes is reported. */
const engines = {
  "ours, UTF-8": async (): Promise<Count> => {
    const tokenizer = openPreset("o200k");
    return (_text, bytes) => tokenizer.countUtf8(bytes);
  },
  "ours, strings": async (): Promise<Count> => {
    const tokenizer = openPreset("o200k");
    return (text) => tokenizer.count(text);
  },
  "ai-tokenizer": async (): Promise<Count> => {
    const [{ default: AiTokenizer }, encoding] = await Promise.all([
      import("ai-tokenizer"),
      import("ai-tokenizer/encoding/o200k_base"),
    ]);
    const tokenizer = new AiTokenizer(encoding);
    return (text) => tokenizer.count(text);
  },
  "gpt-tokenizer": async (): Promise<Count> => {
    const { countTokens } = await import("gpt-tokenizer/encoding/o200k_base");
    const plain = { disallowedSpecial: new Set<string>() };
    return (text) => countTokens(text, plain);
  },
} as const;

export type EngineName = keyof typeof engines;
export const engineNames = Object.keys(engines).filter(isEngine);

export function isEngine(name: string): name is EngineName {
  return Object.hasOwn(engines, name);
}

/** What one process measured. */
export interface EngineRun {
  startMs: number;
  passMs: number[];
  /** Growth of the resident set from before the engine was loaded to the end. */
  grownMB: number;
  /** Per file of the corpus, in its order. */
  counts: number[];
  /** Milliseconds for runs of 10,000 characters, by their name. */
  runsMs: Record<string, number>;
}

/** Measures one engine in this process, which should do nothing else, and writes an EngineRun as JSON. */
export async function measureEngine(name: EngineName, passes: number, output: string): Promise<void> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const files = readCorpus().map(({ bytes }) => ({ bytes, text: decoder.decode(bytes) }));
  const before = process.memoryUsage.rss();
  const began = performance.now();
  const count = await engines[name]();
  count("one", new TextEncoder().encode("one"));
  const run: EngineRun = { startMs: performance.now() - began, passMs: [], grownMB: 0, counts: [], runsMs: {} };
  for (let pass = 0; pass < passes; pass++) {
    const passBegan = performance.now();
    const counts = files.map(({ text, bytes }) => count(text, bytes));
    run.passMs.push(performance.now() - passBegan);
    run.counts = counts;
  }
  run.grownMB = (process.memoryUsage.rss() - before) / 1e6;
  for (const [what, text] of Object.entries(unbrokenRuns(10_000))) run.runsMs[what] = timeOf(() => count(text, encode(text)));
  writeFileSync(output, JSON.stringify(run));
}

/** What one process measured on unbroken runs. */
export interface WorstCase {
  tokenizer: string;
  run: string;
  ms: number;
  /** From the moment `stop` says so until the count ends; the worst of several moments. */
  stopMs: number;
}

/** Runs of 160,000 characters with what comes with the extension and every other kind; writes WorstCase[] as JSON. */
export async function measureWorstCases(output: string): Promise<void> {
  const [sentencePiece, unigram] = await Promise.all([
    sentencePieceTokenizer("sentencepiece_bpe"),
    sentencePieceTokenizer("sentencepiece_unigram"),
  ]);
  const tokenizers: Record<string, Tokenizer> = {
    o200k: openPreset("o200k"),
    cl100k: openPreset("cl100k"),
    bundled: loadTokenizer(JSON.parse(readFileSync("media/specimens/ask-5m/tokenizer.json", "utf8"))),
    SentencePiece: sentencePiece,
    Unigram: unigram,
    RWKV: rwkvTokenizer(),
  };
  const rows: WorstCase[] = [];
  for (const [tokenizer, { countUtf8 }] of Object.entries(tokenizers).map(([name, it]) => [name, bound(it)] as const)) {
    for (const [run, text] of Object.entries(unbrokenRuns(160_000))) {
      const bytes = encode(text);
      const ms = timeOf(() => countUtf8(bytes));
      const stopMs = Math.max(...[0, 5, 20, 50].map((afterMs) => timeToStop(countUtf8, bytes, afterMs)));
      rows.push({ tokenizer, run, ms, stopMs });
    }
  }
  writeFileSync(output, JSON.stringify(rows));
}

function bound(tokenizer: Tokenizer): Pick<Tokenizer, "countUtf8"> {
  return { countUtf8: (bytes, stop) => tokenizer.countUtf8(bytes, stop) };
}

function openPreset(name: PresetName): Tokenizer {
  return rankTokenizer(readPreset(readFileSync(`dist/tokenizers/${name}.bin`), name), encodings[name]);
}

/** What makes quadratic counters hang; the mixed ones are reproducible. */
function unbrokenRuns(length: number): Record<string, string> {
  const mixed = (first: number, count: number) =>
    Array.from({ length }, (_, i) => String.fromCodePoint(first + (((i * 2_654_435_761) % 4_294_967_296) % count))).join("");
  return {
    underscores: "_".repeat(length),
    letters: "a".repeat(length),
    "mixed letters": mixed(0x61, 26),
    "CJK, one character": "中".repeat(length),
    "CJK, mixed": mixed(0x4e00, 5000),
    spaces: " ".repeat(length),
    "line breaks": "\n".repeat(length),
    digits: "7".repeat(length),
    "alternating ab": "ab".repeat(length / 2),
    "combining marks": "e".padEnd(length, "\u0301"),
    emoji: "🙂".repeat(length),
    "mixed emoji": mixed(0x1f600, 64),
  };
}

function timeOf(work: () => number): number {
  const began = performance.now();
  work();
  return performance.now() - began;
}

/** Milliseconds a count goes on after it was told to stop; 0 where it was done before. */
function timeToStop(count: Tokenizer["countUtf8"], bytes: Uint8Array, afterMs: number): number {
  const told = performance.now() + afterMs;
  try {
    count(bytes, () => performance.now() >= told);
  } catch {
    return performance.now() - told;
  }
  return Math.max(0, performance.now() - told);
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
