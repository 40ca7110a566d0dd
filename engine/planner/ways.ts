/** Ways to read a prompt: a policy with a cache format. */
import type { ModelSpec } from "../api.ts";
import type { AttentionChoice, KvFormats } from "../attention/api.ts";
import { checkFlash3 } from "../attention/flash3.ts";
import { checkTopPages } from "../attention/patterns/quest.ts";
import { parseAttention } from "../attention/policy.ts";
import { policyTable } from "../attention/policyTable.ts";
import { checkF32Cache, checkWhole } from "../attention/wholeOnly.ts";
import { EngineError } from "../errors.ts";
import { kvFormats } from "../kv-cache/kvFormats.ts";
import type { PlanDevice } from "./api.ts";

export interface Way {
  attention: AttentionChoice;
  kv: KvFormats;
}

/**
 * Every policy with its defaults, the kind of `chosen` as it was chosen, with every format for keys and values alike; only what the model and
 * the backend do.
 */
export function everyWay(spec: ModelSpec, backend: PlanDevice["backend"], chosen?: AttentionChoice): Way[] {
  if (spec.kind !== "decoder") return [];
  const policies = policyTable.map(({ kind }) =>
    chosen !== undefined && kind === chosen.policy.kind ? chosen : parseAttention(kind),
  );
  const formats = kvFormats.map((format) => ({ keys: format, values: format }));
  const all = policies.flatMap((attention) => formats.map((kv) => ({ attention, kv })));
  return all.filter((way) => obstacleTo(way, spec, backend) === undefined);
}

/** Why a backend does not read so; undefined where it does. */
export function obstacleTo({ attention, kv }: Way, spec: ModelSpec, backend: PlanDevice["backend"]): EngineError | undefined {
  if (spec.kind !== "decoder") return undefined;
  try {
    checkFlash3(attention, kv);
    checkTopPages(spec, attention);
    if (backend === "ort") {
      checkWhole(attention, "WASM");
      checkF32Cache(kv, "WASM");
    }
    return undefined;
  } catch (error) {
    if (error instanceof EngineError) return error;
    throw error;
  }
}
