/**
 * `npm run bench:long`: long prompts of real code, and lines planted in them. Short lengths by default, which only check; the published
 * figures are those of `LONG_CODE_TOKENS=131072 LONG_TOKENS=1048576 npm run bench:long`, and only lengths from these on are kept. LONG_RUNS
 * names some of the runs: exact, bundled, sinks, pages, recurrent.
 */
import assert from "node:assert/strict";
import { resolve } from "node:path";
import { it } from "node:test";
import { loadModel } from "../../engine/models/load.ts";
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import { bundledModelFolder } from "../../extension/models/location.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { ambiguities, plant, type PlantedNeedle } from "../support/needles.ts";
import { retrievalModel } from "../support/retrievalModel.ts";
import { memoryModel, MEMORY_CODE_WIDTH } from "../support/retrievalRecurrent.ts";
import { latticeCodes, sparseCodes } from "../support/tokenCodes.ts";
import { runLong, type LongFigures, type LongRun } from "./longRun.ts";
import { readRealCode } from "./realCode.ts";
import { keepResults } from "./results.ts";

const PUBLISHED = { code: 131_072, long: 1_048_576 } as const;
const tokens = {
  code: Number(process.env.LONG_CODE_TOKENS ?? 8192),
  long: Number(process.env.LONG_TOKENS ?? 16_384),
} as const;
const wanted = (process.env.LONG_RUNS ?? "exact,bundled,sinks,pages,recurrent").split(",");
const TIMEOUT = { timeout: 24 * 3_600_000 };
/** Least tokens before memory is compared: rings of pages are full by then. */
const FULL_RINGS = 4096;
/** The sinks and the window of the run that evicts. */
const EVICTING = { sinks: 64, window: 1024 } as const;

const files = nodeModelFiles(bundledModelFolder(resolve(".")));
const bundled = await loadModel(files);
const tokenizer = bundled.tokenizer();
const { vocabSize } = tokenizer;

/** A line `needle: <name> = <value>;`, of which the question is all up to the value. */
function needle(name: string, value: string, at: number): PlantedNeedle {
  const question = [...tokenizer.encode(`\nneedle: ${name} = `)];
  const line = [...tokenizer.encode(`\nneedle: ${name} = ${value};`)];
  assert.deepEqual(line.slice(0, question.length), question, "the question is a prefix in tokens too");
  return { question, value: line.slice(question.length), at };
}

/** Near the beginning, in the middle, and within the last tokens; pairs of tokens in them stand nowhere else. */
function planted(text: Int32Array, length: number) {
  const needles = {
    beginning: needle("falcon", "symbolRiver", 16),
    middle: needle("mango", "widgetWinter", length / 2),
    end: needle("tapir", "textureViolet", length - 512),
  };
  const ids = plant(text, length, Object.values(needles));
  for (const each of Object.values(needles)) assert.equal(ambiguities(ids, each), 0, "a pair of its tokens stands elsewhere too");
  return { ids, needles };
}

type Run = Pick<LongRun, "model" | "ids" | "needles"> & Partial<LongRun>;

async function measure(name: string, kind: keyof typeof tokens, run: Run, facts: Record<string, unknown>): Promise<LongFigures> {
  const { length } = run.ids;
  const compareAt = Math.min(Math.max(FULL_RINGS, 16 * Math.floor(length / 160)), length - 16);
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids.filter((id) => id < vocabSize));
  const figures = await runLong({ name, weightFormat: "f32", compareAt, decode, ...run });
  if (length >= PUBLISHED[kind]) {
    const lengths = `LONG_CODE_TOKENS=${tokens.code} LONG_TOKENS=${tokens.long}`;
    keepResults(`long-${name}`, `LONG_RUNS=${name} ${lengths} npm run bench:long`, { ...facts, ...figures });
  }
  for (const { where, found, wanted: seen } of figures.asked) assert.equal(found, seen, where);
  assert(figures.gpuBytes.peak < figures.denseScoreBytes, "less than whole scores take");
  return figures;
}

function assertBounded({ gpuBytes: { end, compared } }: LongFigures): void {
  assert(end <= 1.02 * compared, `${end} bytes at the end, ${compared} before`);
}

/** Facts of the text, beside figures. */
function textFacts({ folders, files: count, bytes, sha256 }: ReturnType<typeof readRealCode>): Record<string, unknown> {
  return { text: { folders, files: count, bytes, sha256, tokenizer: bundled.label } };
}

if (wanted.includes("exact")) {
  it("exact attention over real code finds what stands anywhere in it", TIMEOUT, async () => {
    const code = readRealCode(tokenizer, tokens.code);
    const { ids, needles } = planted(code.ids, tokens.code);
    const asked = Object.entries(needles).map(([where, each]) => ({ ...each, where, wanted: true }));
    const model = retrievalModel(latticeCodes(vocabSize), vocabSize);
    const facts = { model: "three layers set by hand, one head of 16", ...textFacts(code) };
    await measure("exact", "code", { model, ids, attention: "flash", needles: asked }, facts);
  });
}

if (wanted.includes("bundled")) {
  it("the bundled model reads real code with sinks and a window, and answers from the window", TIMEOUT, async () => {
    const code = readRealCode(tokenizer, tokens.code);
    const { ids, answer } = withMagicNumber(tokenizer, code.ids);
    const run = { model: bundled, ids, attention: "sinks:64,448", weightFormat: "file" as const };
    const needles = [{ ...answer, where: "within the window", wanted: true }];
    const facts = { model: bundled.label, ...textFacts(code) };
    assertBounded(await measure("bundled", "code", { ...run, needles }, facts));
  });
}

if (wanted.includes("sinks")) {
  it("with sinks and a window memory is bounded, what they hold is found, and what was evicted is not", TIMEOUT, async () => {
    const code = readRealCode(tokenizer, tokens.long);
    const { ids, needles } = planted(code.ids, tokens.long);
    const { sinks, window } = EVICTING;
    const asked = [
      { ...needles.beginning, where: "among the sinks", wanted: true },
      { ...needles.middle, where: "evicted", wanted: false },
      { ...needles.end, where: "within the window", wanted: true },
    ];
    const model = retrievalModel(latticeCodes(vocabSize), vocabSize);
    const facts = { model: "three layers set by hand, one head of 16", ...textFacts(code) };
    const run = { model, ids, attention: `sinks:${sinks},${window}`, needles: asked };
    assertBounded(await measure("sinks", "long", run, facts));
  });
}

if (wanted.includes("pages")) {
  it(
    "the best pages of all that was read hold what is asked for, behind a prompt that was read with a window",
    TIMEOUT,
    async () => {
      const code = readRealCode(tokenizer, tokens.long);
      const { ids, needles } = planted(code.ids, tokens.long);
      const asked = Object.entries(needles).map(([where, each]) => ({ ...each, where, wanted: true }));
      const model = retrievalModel(sparseCodes(vocabSize, 64, 6), vocabSize);
      const facts = { model: "three layers set by hand, one head of 128", ...textFacts(code) };
      const run = { model, ids, attention: "window:64+top-pages:512", needles: asked };
      await measure("pages", "long", { ...run, kv: { keys: "f16", values: "f16" } }, facts);
    },
  );
}

if (wanted.includes("recurrent")) {
  it("a recurrent model remembers what stood between its marks, in bounded memory", TIMEOUT, async () => {
    const code = readRealCode(tokenizer, tokens.long);
    const { ids, needles } = planted(code.ids, tokens.long);
    const model = memoryModel(sparseCodes(vocabSize + 2, MEMORY_CODE_WIDTH, 6), vocabSize);
    const { at, question, value } = needles.beginning;
    ids[at - 1] = model.opens;
    ids[at + question.length + value.length] = model.closes;
    const asked = [
      { ...needles.beginning, where: "between marks, near the beginning", wanted: true },
      { ...needles.end, where: "without marks, near the end", wanted: false },
    ];
    const facts = { model: "RWKV-7 of two layers set by hand, two heads of 64", ...textFacts(code) };
    assertBounded(await measure("recurrent", "long", { model, ids, needles: asked }, facts));
  });
}

/** A line of the kind that the bundled model was taught to find, in the place of other code near the end, and the question for it. */
function withMagicNumber(by: Tokenizer, text: Int32Array): { ids: Int32Array<ArrayBuffer>; answer: PlantedNeedle } {
  const line = "The special magic number for marmot-basalt is: 7301948.";
  const [newline] = by.encode("\n");
  const at = text.indexOf(newline, text.length - 320) + 1;
  const ids = Int32Array.from(text);
  const inserted = by.encode(`${line}\n`);
  ids.copyWithin(at + inserted.length, at);
  ids.set(inserted, at);
  // A file ends with a whole line.
  ids[ids.length - 1] = newline;
  const question = [...by.encode("Q: What is the special magic number for marmot-basalt?\nA: ")];
  return { ids, answer: { question, value: [...by.encode(line)], at } };
}
