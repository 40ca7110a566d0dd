import type { Runner, RunnerOptions } from "../api.ts";
import { openReferenceRecurrent } from "./recurrentRunner.ts";
import { openReferenceDecoder } from "./runner.ts";

/** A runner in plain loops for any model. Throws what reading the weights throws. */
export async function openReferenceRunner(options: RunnerOptions): Promise<Runner> {
  const { spec } = options;
  return spec.kind === "decoder" ? openReferenceDecoder(spec, options) : openReferenceRecurrent(spec, options);
}
