/** The last answer under another RoPE scaling at once: the cached context is turned, not computed anew. */
import type { RopeChoice } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import type { RopePreview } from "../eval/api.ts";
import { rotating } from "../position/scaling.ts";
import { answerFrom, type AskEngine, type AskModel, type OnEvent } from "./ask.ts";

/**
 * Answers the last question again: the files' keys are turned to where `rope` puts them, the question is run anew behind them, and the answer
 * decoded. It is approximate, because deeper layers' keys and values were computed under the old places, so no later prompt reuses the cache;
 * another preview may, as every one starts from the same keys before rotation. Throws `bad-argument` where no question was answered before,
 * `rope-invalid` for a model without rotation, `context-too-long` where the scaling does not reach as far as the prompt.
 */
export async function previewAnswer(
  model: AskModel,
  engine: AskEngine,
  rope: RopeChoice,
  signal: AbortSignal,
  onEvent: OnEvent,
): Promise<RopePreview> {
  const { asked, held } = engine;
  const { runner } = held;
  const spec = rotating(model.spec);
  if (asked === undefined) {
    throw new EngineError(
      "bad-argument",
      "no question's context is in the cache",
      "ask a question first, then preview a scaling",
    );
  }
  const { request, packed } = asked;
  const { ids, pack } = packed;
  const resolved = engine.window.wouldResolve(
    { rope, attention: asked.attention },
    pack.ids,
    ids.length + request.maxAnswerTokens,
  );
  const { limit, plan, scaling } = resolved;
  if (ids.length + request.maxAnswerTokens > limit.tokens) {
    const message = `the prompt and its answer take ${ids.length + request.maxAnswerTokens} tokens and this setting reaches ${limit.tokens}`;
    throw new EngineError("context-too-long", message, "run it exactly: fewer files go in then", { limitTokens: limit.tokens });
  }
  throwIfAborted(signal);
  const started = performance.now();
  held.forget();
  const keptTokens = runner.truncate(Math.min(pack.ids.length, runner.length));
  if (!(await runner.repositionCache(plan))) {
    throw new EngineError("rope-invalid", `the keys of ${spec.modelType} cannot be turned where they lie`, "run it exactly");
  }
  const repositioned = performance.now();
  const report = (doneTokens: number): void => {
    const progress = { doneTokens: keptTokens + doneTokens, totalTokens: ids.length, reusedTokens: keptTokens };
    onEvent({ type: "prefill", ...progress, restoredTokens: 0, path: "the question", tokensPerSecond: 0 });
  };
  report(0);
  await runner.append(ids.subarray(keptTokens), { signal, onProgress: report });
  const decodeStarted = performance.now();
  try {
    const { part } = await answerFrom(model, held, { ...packed, rope: resolved }, request, signal, onEvent);
    return {
      question: request.question,
      ...part,
      approximate: true,
      rope: scaling,
      limit,
      promptTokens: ids.length,
      recomputedTokens: ids.length - keptTokens,
      timings: {
        repositionMs: repositioned - started,
        prefillMs: decodeStarted - repositioned,
        decodeMs: performance.now() - decodeStarted,
      },
    };
  } finally {
    held.forget();
  }
}
