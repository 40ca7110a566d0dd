/** How much a model takes and gives under the playground's settings. No `vscode`. */
import type { ModelSpec, RopeChoice } from "../../engine/api.ts";
import { EngineError } from "../../engine/errors.ts";
import { cacheCapacity } from "../../engine/kv-cache/capacity.ts";
import { MAX_CHUNK_TOKENS } from "../../engine/models/chunkSizes.ts";
import type { ConversationFrame } from "../../engine/pack/conversation.ts";
import { requestLength, resolveRope } from "../../engine/position/choose.ts";
import type { PanelSettings } from "../../webview/protocol/panel.ts";

export type WindowSettings = Pick<PanelSettings, "rope" | "attention" | "kv">;

/** An extractive model says one line. */
const mostOfALine = 256;
const mostOfAReply = 4096;
const replyShare = 0.25;
/** Recurrent models have a state of constant size; what is asked for is bounded by what they were trained on. */
const endless = 2 ** 24;

/** Tokens that prompt and reply may have together: the engine's own rule, for a request of any length. */
export function windowOf(spec: ModelSpec, { rope, attention, kv }: WindowSettings): number {
  const isDecoder = spec.kind === "decoder";
  const capacity = isDecoder ? cacheCapacity(spec, kv, attention, MAX_CHUNK_TOKENS, undefined) : endless;
  const attends = isDecoder ? attention : undefined;
  const under = (choice: RopeChoice): number =>
    resolveRope(choice, spec, requestLength(choice, spec, capacity, attends), capacity, attends).limit.tokens;
  try {
    return under(rope);
  } catch (error) {
    // A scaling that was chosen for another model can be none for this one; whoever asks it is told.
    if (EngineError.is(error, "rope-invalid")) return under({ kind: "model" });
    throw error;
  }
}

/** What messages may take beside the longest reply and what the template writes itself. */
export function modelLimits(
  spec: ModelSpec,
  settings: WindowSettings,
  { opening, closing }: Pick<ConversationFrame, "opening" | "closing">,
): { maxInputTokens: number; maxOutputTokens: number } {
  const window = windowOf(spec, settings);
  const most = spec.promptFormat === "extractive" ? mostOfALine : mostOfAReply;
  const maxOutputTokens = Math.max(1, Math.min(most, Math.floor(window * replyShare)));
  return { maxInputTokens: Math.max(1, window - maxOutputTokens - opening - closing), maxOutputTokens };
}
