/** The beginning of one prompt as it is kept beyond the runner: restored before the prefill, saved while it goes on. */
import type { PositionPlan, Runner } from "../api.ts";
import type { AttentionChoice } from "../attention/api.ts";
import type { CachedPages } from "../kv-cache/api.ts";
import type { PrefixIndex } from "../kv-cache/prefixIndex.ts";
import { openPageKeys, type PageKeys, prefixRoot } from "../kv-cache/prefixKey.ts";
import type { PrefixPlace } from "./prefixPlace.ts";

/** A prompt, and what its keys and values depend on beside the model. */
export interface PrefixPrompt {
  ids: Int32Array;
  plan: PositionPlan;
  /** Undefined for models without keys. */
  attention: AttentionChoice | undefined;
}

export interface KeptPrefix {
  /** Tokens of the prompt that can be restored, in whole pages and short of its last token. */
  tokens(): Promise<number>;
  /**
   * Puts back what reaches further than the runner's cache, which must be a beginning of the prompt. `onLength` hears how far it is. Throws
   * `aborted` between pages, and what the device does.
   */
  restore(signal: AbortSignal, onLength: (tokens: number) => void): Promise<void>;
  /** Keeps the whole pages of the prompt that are cached. */
  save(): Promise<void>;
}

/** Undefined where nothing is kept: without a place, or for a runner whose cache cannot be taken out. */
export async function keptPrefix(
  place: PrefixPlace | undefined,
  runner: Runner,
  prompt: PrefixPrompt,
): Promise<KeptPrefix | undefined> {
  const { pages } = runner;
  if (place === undefined || pages === undefined) return undefined;
  const opened = await place.open();
  if (opened === undefined) return undefined;
  const { index, model } = opened;
  const { weightFormat, products } = place;
  const { layout, tokensPerPage } = pages;
  const root = await prefixRoot({
    ...{ model, weightFormat, products, layout, tokensPerPage },
    ...{ backend: runner.kind, kv: runner.kv, positions: prompt.plan.key, attention: prompt.attention },
  });
  const keys = openPageKeys(root, prompt.ids, tokensPerPage, Date.now());
  return prefixOf(index, runner, pages, keys, prompt.ids.length);
}

function prefixOf(index: PrefixIndex, runner: Runner, pages: CachedPages, keys: PageKeys, promptTokens: number): KeptPrefix {
  const { tokensPerPage } = pages;
  /** The last token is computed anyway: its logits are needed. */
  const most = Math.floor((promptTokens - 1) / tokensPerPage);
  let savedPages = 0;
  return {
    tokens: async () => (await index.lookup(keys, pages, most)) * tokensPerPage,
    async restore(signal, onLength) {
      const to = await index.lookup(keys, pages, most);
      if (to * tokensPerPage <= runner.length) return;
      const from = Math.floor(runner.length / tokensPerPage);
      if (pages.kind === "keys" && runner.truncate(from * tokensPerPage) !== from * tokensPerPage) return;
      await index.restore(keys, pages, { from, to }, { signal, onPages: () => onLength(runner.length) });
    },
    async save() {
      const to = Math.min(Math.floor(runner.length / tokensPerPage), keys.pages);
      if (to <= savedPages) return;
      await index.save(keys, pages, { from: savedPages, to });
      savedPages = to;
      await index.touch(keys, to);
    },
  };
}
