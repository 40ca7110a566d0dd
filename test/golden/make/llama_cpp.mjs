/**
 * Compares test/golden/gguf with llama.cpp: the largest difference of a probability at the stored positions of every file.
 * Run by hand where node-llama-cpp is installed (it is no dependency of the project): node llama_cpp.mjs <folder of the files>
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { getLlama } from "node-llama-cpp";

const folder = process.argv[2];
const { models } = JSON.parse(readFileSync(path.join(folder, "expected.json"), "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const kept = { experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32", contextSize: 128 };
for (const { name, cases } of models) {
  const model = await llama.loadModel({ modelPath: path.join(folder, `${name}.gguf`), ignoreMemorySafetyChecks: true });
  for (const { input_ids: ids, positions, logits } of cases) {
    const context = await model.createContext({ ...kept, ignoreMemorySafetyChecks: true });
    const asked = ids.map((id, at) => (positions.includes(at) ? [id, { generateNext: { probabilities: true } }] : id));
    const found = await context.getSequence().controlledEvaluate(asked);
    const worst = positions.map((position, row) => {
      const most = Math.max(...logits[row]);
      const total = logits[row].reduce((sum, value) => sum + Math.exp(value - most), 0);
      const given = found[position].next.probabilities;
      return Math.max(...logits[row].map((value, id) => Math.abs((given.get(id) ?? 0) - Math.exp(value - most) / total)));
    });
    process.stdout.write(`${name} ${ids.length} ${Math.max(...worst).toExponential(1)}\n`);
    await context.dispose();
  }
  await model.dispose();
}
