import { EngineError } from "../errors.ts";
import type { AttentionChoice, KvFormats } from "./api.ts";

/** Every key, tile by tile: what runs unless something else was chosen. */
export const WHOLE: AttentionChoice = { policy: { kind: "flash" } };

export const F32_CACHE: KvFormats = { keys: "f32", values: "f32" };

/** For backends that attend in one way, to every key: throws `bad-argument` for a choice that would change nothing there. */
export function checkWhole({ policy, topPages }: AttentionChoice, where: string): void {
  const isWhole = policy.kind === "flash" || policy.kind === "dense";
  if (isWhole && topPages === undefined) return;
  const what = isWhole ? "decoding by top pages" : `attention "${policy.kind}"`;
  throw new EngineError("bad-argument", `${what} does not run on ${where}`, "choose flash, or the WebGPU backend");
}

/** For backends that cache keys and values in f32 only: throws `bad-argument` for another format. */
export function checkF32Cache(kv: KvFormats | undefined, where: string): void {
  if (kv === undefined || (kv.keys === "f32" && kv.values === "f32")) return;
  const message = `${where} caches keys and values in f32, not in ${kv.keys} and ${kv.values}`;
  throw new EngineError("bad-argument", message, "choose f32 for both, or the WebGPU backend");
}
