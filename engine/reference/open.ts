import type { Runner, RunnerOptions } from "../api.ts";
import { EngineError } from "../errors.ts";
import { openReferenceDecoder } from "./runner.ts";

/** A runner in plain loops for any model. Throws what reading the weights throws. */
export async function openReferenceRunner(options: RunnerOptions): Promise<Runner> {
  const { spec } = options;
  if (spec.kind === "decoder") return openReferenceDecoder(spec, options);
  throw new EngineError("unsupported-model", `model type ${spec.modelType} is not supported yet`, "choose a transformer");
}
