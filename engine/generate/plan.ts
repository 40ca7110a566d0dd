/** What a question would cost, before it is asked: packed as it would be, with nothing computed and nothing changed. */
import type { AskPlan, AskRequest } from "./api.ts";
import { type AskEngine, type AskModel, attentionOf, packPrompt } from "./ask.ts";
import { keptPrefix } from "./keptPrefix.ts";
import { tokensToReuse } from "./prefill.ts";

/** Throws what packing throws: `empty-workspace`, `context-too-long`, `not-found`. */
export async function planQuestion(
  model: AskModel,
  engine: AskEngine,
  request: AskRequest,
  signal: AbortSignal,
): Promise<AskPlan> {
  const { held, window } = engine;
  const packed = await packPrompt(model, window, request, signal, () => undefined, "plan");
  const { ids, rope } = packed;
  const attention = attentionOf(model.spec, request);
  const heldTokens = held.wouldKeep(ids, rope.plan, attention);
  const prefix = await keptPrefix(engine.prefixes, held.runner, { ids, plan: rope.plan, attention });
  const known = Math.max(heldTokens, (await prefix?.tokens()) ?? 0);
  const reusedTokens = tokensToReuse(attention, known, ids.length);
  return {
    promptTokens: ids.length,
    reusedTokens,
    restoredTokens: Math.max(0, reusedTokens - heldTokens),
    recomputedTokens: ids.length - reusedTokens,
    limit: rope.limit,
    rope: rope.scaling,
    rows: packed.pack.rows,
  };
}
