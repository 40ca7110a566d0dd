/** Which pages of a layer stay in the cache: all, or the first ones and a ring of the last. */
import type { LayerKind } from "../api.ts";
import { PAGE_TOKENS, type AttentionChoice } from "../attention/api.ts";

/** Pages from `pinned` on share the places pinned .. pinned + ring - 1 in turn; without a ring every page has its own place. */
export interface Retention {
  readonly pinned: number;
  readonly ring: number | undefined;
  /** Keys a query of the layer sees behind the pinned pages, itself included. */
  readonly window: number;
}

/** Tokens a layer of a ring keeps beyond what the next chunk needs, so that a follow-up question can cut the last one and its answer off. */
const SLACK_TOKENS = 1024;

export const keepsAll: Retention = { pinned: 0, ring: undefined, window: Infinity };

/** What a layer keeps when chunks have at most `chunkTokens` tokens. */
export function retentionOf(layer: LayerKind, choice: AttentionChoice, chunkTokens: number): Retention {
  const bound = boundOf(choice);
  const window = Math.min(layer.window ?? Infinity, bound.window);
  if (window === Infinity) return keepsAll;
  // A chunk writes its keys before its first query reads the window in front of it.
  const ring = Math.ceil((window + chunkTokens + SLACK_TOKENS) / PAGE_TOKENS) + 1;
  return { pinned: layer.window === undefined ? Math.ceil(bound.pinned / PAGE_TOKENS) : 0, ring, window };
}

/** Place of a page among the layer's pages; pages come in rising order, so a place that is taken again has lost its page. */
export function placeOf(page: number, { pinned, ring }: Retention): number {
  return ring === undefined || page < pinned ? page : pinned + ((page - pinned) % ring);
}

/** Places that `pages` pages take. */
export function placesFor(pages: number, { pinned, ring }: Retention): number {
  return ring === undefined ? pages : Math.min(pages, pinned + ring);
}

/** First page behind the pinned ones that is still there when `pages` pages were written. */
export function oldestKept(pages: number, { pinned, ring }: Retention): number {
  return ring === undefined ? 0 : Math.max(pinned, pages - ring);
}

/** Tokens the layer can never hold more than; Infinity where it keeps all. */
export function heldTokens(layer: LayerKind, choice: AttentionChoice, chunkTokens: number): number {
  const { pinned, ring } = retentionOf(layer, choice, chunkTokens);
  return ring === undefined ? Infinity : (pinned + ring) * PAGE_TOKENS;
}

/** The first keys and the last ones that a policy leaves every layer, prefilling and decoding. */
export function boundOf({ policy, topPages }: AttentionChoice): { pinned: number; window: number } {
  if (topPages !== undefined) return { pinned: 0, window: Infinity };
  switch (policy.kind) {
    case "window":
      return { pinned: 0, window: policy.window };
    case "sinks":
      return { pinned: policy.sinks, window: policy.window };
    case "longformer":
      return { pinned: policy.globals, window: policy.window };
    default:
      return { pinned: 0, window: Infinity };
  }
}
