/**
 * Accuracy of the bundled specimens computed by this engine, on the cases that engine/specimens/cases.py wrote, beside what PyTorch recorded for
 * the same cases. `LCP_CASES=cases.json npm run bench:specimens`; without the file it says how to make one and fails.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { it } from "node:test";
import type { Runner } from "../../engine/api.ts";
import { openOrtRunner } from "../../engine/backends/ort.ts";
import { loadModel } from "../../engine/models/load.ts";
import { parseRope } from "../../engine/position/ropeJson.ts";
import { resolveRope } from "../../engine/position/choose.ts";
import { nodeModelFiles } from "../../extension/models/nodeFiles.ts";
import { specimens } from "../support/specimens.ts";

interface Row {
  task: string;
  prompt: number[];
  answer: number[];
}

interface Cases {
  length: number;
  tokens: { newline: number; asks: number; answers: number; end: number };
  cases: { ids: number[]; rows: Row[] }[];
}

const file = process.env["LCP_CASES"];
const MAKE_IT = "write it with engine/specimens/cases.py and name it in LCP_CASES";
/** Room for the longest question with its answer. */
const ROOM = 400;

for (const { name, folder } of specimens.filter(({ name }) => name !== "ask-5m")) {
  it(name, async (test) => {
    assert.ok(file !== undefined && existsSync(file), `no file of cases: ${MAKE_IT}`);
    const { length, tokens, cases } = JSON.parse(readFileSync(file, "utf8")) as Cases;
    const { runner, vocabSize } = await open(folder, length);
    const results = new Map<string, { right: number; n: number }>();
    for (const { ids, rows } of cases) {
      runner.truncate(0);
      for (const row of rows) {
        const right = await isRight(runner, ids, row, tokens, vocabSize);
        const sum = results.get(row.task) ?? { right: 0, n: 0 };
        results.set(row.task, { right: sum.right + Number(right), n: sum.n + 1 });
      }
    }
    for (const [task, { right, n }] of results) test.diagnostic(`${task}: free ${(right / n).toFixed(3)} of ${n}`);
    runner.dispose();
  });
}

async function open(folder: string, length: number): Promise<{ runner: Runner; vocabSize: number }> {
  const wasm = new Uint8Array(readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm")).buffer;
  const files = nodeModelFiles(folder);
  const { spec, weights } = await loadModel(files);
  const runner = await openOrtRunner({ spec, weights, weightFormat: "f32", wasm, threads: 1 });
  await files.close();
  runner.setPositions(resolveRope(parseRope("model", spec), spec, length + ROOM, runner.capacityTokens).plan);
  return { runner, vocabSize: spec.vocabSize };
}

/** Whether greedy decoding gives exactly the answer: every step prefers its token, and each line is followed by `A` only where another comes. */
async function isRight(runner: Runner, ids: number[], row: Row, tokens: Cases["tokens"], vocabSize: number): Promise<boolean> {
  const whole = [...ids, ...row.prompt, ...row.answer];
  const kept = runner.length === 0 ? 0 : runner.truncate(ids.length);
  const logits = await runner.append(whole.slice(kept), { logits: "all" });
  assert.ok(logits);
  const first = ids.length + row.prompt.length - 1;
  const at = (step: number) => logits.subarray((first - kept + step) * vocabSize, (first - kept + step + 1) * vocabSize);
  const prefersAnswer = row.answer.every((token, step) => largest(at(step)) === token);
  const ends = row.answer.flatMap((token, step) => (token === tokens.newline ? [step + 1] : []));
  return prefersAnswer && ends.every((step) => goesOn(at(step), tokens) === step < row.answer.length);
}

function goesOn(logits: Float32Array, { asks, answers, end }: Cases["tokens"]): boolean {
  return logits[answers] > logits[asks] && logits[answers] > logits[end];
}

function largest(values: Float32Array): number {
  return values.reduce((best, value, index) => (value > values[best] ? index : best), 0);
}
