/** The bundled specimens, and what PyTorch computes with their weights. */
import type { ModelSpec, Runner } from "../../engine/api.ts";
import type { JsonRecord } from "../../engine/formats/json.ts";
import { resolveRope } from "../../engine/position/choose.ts";
import { parseRope } from "../../engine/position/ropeJson.ts";
import { goldenFile } from "./goldenModels.ts";

export interface SpecimenCase {
  name: string;
  /** Null where there is no rotation to scale. */
  rope_parameters: JsonRecord | null;
  ids: number[];
  lastLogits: number[];
  sumPerPosition: number[];
  argmaxPerPosition: number[];
  greedyNext?: number[];
}

export interface Specimen {
  name: string;
  folder: string;
  cases: SpecimenCase[];
}

/**
 * Both sides compute in f32 with sums in another order; a share of the largest logit. Every backend and the reference in plain loops are
 * held to it.
 */
export const RELATIVE = 2e-4;

export const specimens: readonly Specimen[] = [
  specimen("ask-5m", "specimens/ask.json"),
  ...["rope", "alibi", "mamba", "rwkv7"].map((name) => specimen(`${name}-4m`, `specimens/${name}.json`)),
];

/** Lays the positions of a case out. */
export function place(runner: Runner, spec: ModelSpec, { rope_parameters: rope, ids }: SpecimenCase): void {
  const choice = parseRope(rope ?? "model", spec);
  runner.setPositions(resolveRope(choice, spec, ids.length, runner.capacityTokens).plan);
}

function specimen(name: string, golden: string): Specimen {
  const { cases } = goldenFile(golden) as { cases: SpecimenCase[] };
  return { name, folder: `media/specimens/${name}`, cases };
}
