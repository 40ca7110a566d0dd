/** What every backend refuses before it runs, in the same words. */
import type { DecoderSpec, PositionPlan } from "../api.ts";
import { EngineError } from "../errors.ts";

/** Throws `bad-argument` for the first id that no row of the embedding table belongs to. */
export function checkIds(ids: ArrayLike<number>, vocabSize: number): void {
  for (let index = 0; index < ids.length; index++) {
    const id = ids[index];
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
    throw new EngineError(
      "bad-argument",
      `token ${id} at ${index} is not in the vocabulary`,
      `give ids from 0 to ${vocabSize - 1}`,
    );
  }
}

/** Throws `kv-cache-too-large` where `added` tokens behind `length` pass the capacity. */
export function checkRoom(added: number, length: number, capacityTokens: number): void {
  if (length + added > capacityTokens) throw cacheTooLarge(length + added, capacityTokens);
}

export function cacheTooLarge(needTokens: number, haveTokens: number): EngineError {
  const message = `${needTokens} tokens do not fit the KV cache of ${haveTokens}`;
  return new EngineError("kv-cache-too-large", message, `shorten the context to ${haveTokens} tokens`, {
    needTokens,
    haveTokens,
  });
}

/** Throws `bad-argument` for a token mask of the wrong length, or one that allows nothing. */
export function checkMask(mask: Uint32Array, vocabSize: number): void {
  const words = Math.ceil(vocabSize / 32);
  if (mask.length !== words) {
    throw new EngineError("bad-argument", `a token mask of ${mask.length} words for ${vocabSize} tokens`, `give ${words} words`);
  }
  const lastBits = vocabSize % 32 === 0 ? 0xffffffff : 2 ** (vocabSize % 32) - 1;
  if (mask.some((word, index) => (index === words - 1 ? word & lastBits : word) !== 0)) return;
  throw new EngineError("bad-argument", "the token mask allows no token", "allow at least the end of the answer");
}

/** Throws `bad-argument` for a plan of another model. */
export function checkPlan(plan: PositionPlan, spec: DecoderSpec): void {
  if (plan.table.invFreq.length === spec.rotaryDim / 2) return;
  const message = `a rotation of ${plan.table.invFreq.length} pairs for a model of ${spec.rotaryDim / 2}`;
  throw new EngineError("bad-argument", message, "make the plan from this model's spec");
}
