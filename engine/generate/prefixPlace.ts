/** The place a session keeps prefixes in: opened with the first question, for what it costs is of no use before. */
import type { MatmulPrecision, ModelSpec, Runner, SessionInfo, WeightFormat, WeightStore } from "../api.ts";
import { EngineError } from "../errors.ts";
import type { PrefixStatistics, PrefixStore } from "../kv-cache/api.ts";
import { openPrefixIndex, type PrefixIndex } from "../kv-cache/prefixIndex.ts";
import { modelHash } from "../kv-cache/prefixModel.ts";

/** What of a session the keys of its prefixes depend on. */
export interface PrefixSession {
  spec: ModelSpec;
  weights: WeightStore;
  weightFormat: WeightFormat;
  products: MatmulPrecision;
}

export interface PrefixPlace extends Pick<PrefixSession, "weightFormat" | "products"> {
  /** The index, and what tells the model apart; undefined where the weights cannot be read any more. */
  open(): Promise<{ index: PrefixIndex; model: string } | undefined>;
  /** Settles when nothing is being written any more. */
  settled(): Promise<void>;
  /** Undefined before the first question. */
  readonly statistics: PrefixStatistics | undefined;
}

export function openPrefixPlace(store: PrefixStore, session: PrefixSession): PrefixPlace {
  let opening: Promise<{ index: PrefixIndex; model: string } | undefined> | undefined;
  let opened: PrefixIndex | undefined;
  const open = async (): Promise<{ index: PrefixIndex; model: string } | undefined> => {
    try {
      const [index, model] = await Promise.all([openPrefixIndex(store), modelHash(session.spec, session.weights)]);
      opened = index;
      return { index, model };
    } catch (error) {
      // The model runs from what was loaded; without its files nobody can say whose prefixes these are.
      if (error instanceof EngineError) return undefined;
      throw error;
    }
  };
  return {
    weightFormat: session.weightFormat,
    products: session.products,
    open: () => (opening ??= open()),
    async settled() {
      await opened?.settled();
    },
    get statistics() {
      return opened?.statistics;
    },
  };
}

/** Whether a runner's prefixes are kept, in words for a person. */
export function prefixesOf({ kind, pages }: Runner): SessionInfo["prefixes"] {
  if (pages !== undefined) return { kept: true, because: `in pages of ${pages.tokensPerPage} tokens` };
  return { kept: false, because: `the ${kind} backend cannot take its cache out and put it back` };
}
