import type { RecurrentSpec, RunnerOptions } from "../api.ts";
import { throwIfAborted } from "../errors.ts";
import { checkWeights } from "../models/weights.ts";
import { openHostState } from "../recurrent/hostState.ts";
import { openRecurrentRunner, type RecurrentBackend, type RecurrentRunner } from "../recurrent/runner.ts";
import { modelKey } from "../recurrent/snapshot.ts";
import { readTensors } from "./decoder.ts";
import { recurrentLogits, type RecurrentModel } from "./recurrentModel.ts";
import { openPass } from "./recurrentPass.ts";
import { sampleLogits } from "./sample.ts";

/** Plain loops never give way, so a chunk is small. */
const CHUNK_TOKENS = 16;

/** A recurrent model in plain loops: slow, and the one the others are compared with. */
export async function openReferenceRecurrent(spec: RecurrentSpec, options: RunnerOptions): Promise<RecurrentRunner> {
  const { weights, weightFormat, signal } = options;
  throwIfAborted(signal);
  checkWeights(spec, weights);
  const key = await modelKey(spec, weights, weightFormat, signal);
  const { tensor, quantizationError } = await readTensors(spec, weights, weightFormat, options);
  const backend = referenceBackend({ spec, tensor, precision: "f32" }, quantizationError);
  return openRecurrentRunner(spec, options, backend, key);
}

function referenceBackend(model: RecurrentModel, quantizationError: number | undefined): RecurrentBackend {
  const { spec } = model;
  const pass = openPass(model);
  /** Final normed state [E] of the last token. */
  const last = new Float32Array(spec.hiddenSize);
  const lastLogits = (): Float32Array<ArrayBuffer> => Float32Array.from(recurrentLogits(model, last));

  return {
    kind: "reference",
    device: "plain loops on the CPU",
    lost: new Promise<void>(() => undefined),
    quantizationError,
    check: () => undefined,
    chunkTokens: () => CHUNK_TOKENS,
    async run(ids, { allLogits }) {
      const states = pass.run(ids);
      last.set(states.subarray(-spec.hiddenSize));
      await new Promise<void>((resolve) => setTimeout(resolve, 0));
      return allLogits ? Float32Array.from(recurrentLogits(model, states)) : undefined;
    },
    lastLogits: async () => lastLogits(),
    sample: async (sampling, allowed, uniform01) => sampleLogits(lastLogits(), sampling, allowed, uniform01),
    ...openHostState(spec, [...pass.parts, last]),
    loseDevice: () => false,
    dispose: () => undefined,
  };
}
