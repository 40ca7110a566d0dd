/** How much of the exact attention a pattern keeps. */
import type { Reals } from "../../position/rope.ts";
import { visibleKeys } from "../../reference/pattern.ts";
import type { KeptMass, Pattern } from "../api.ts";

/** Share of one query's exact softmax weights, [position + 1] of a head, that lies on keys the pattern shows: in [0, 1]. */
export function keptShare(pattern: Pattern, head: number, weights: Reals): number {
  const isVisible = visibleKeys(pattern, head, weights.length - 1);
  let kept = 0;
  for (let key = 0; key < weights.length; key++) if (isVisible(key)) kept += weights[key];
  // Rounding of a sum of many shares must not look like more than there is.
  return Math.min(1, kept);
}

/** Gathers kept shares over a prefill. */
export interface KeptShares {
  add(layer: number, head: number, share: number): void;
  /** Undefined where nothing was added. */
  summary(): KeptMass | undefined;
}

export function gatherKept(): KeptShares {
  const heads = new Map<string, { sum: number; queries: number }>();
  return {
    add(layer, head, share) {
      const held = heads.get(`${layer} ${head}`) ?? { sum: 0, queries: 0 };
      heads.set(`${layer} ${head}`, { sum: held.sum + share, queries: held.queries + 1 });
    },
    summary() {
      if (heads.size === 0) return undefined;
      const means = [...heads.values()].map(({ sum, queries }) => sum / queries);
      return {
        mean: means.reduce((total, mean) => total + mean, 0) / means.length,
        least: Math.min(...means),
        queries: Math.max(...[...heads.values()].map(({ queries }) => queries)),
        heads: heads.size,
      };
    },
  };
}

/** What a prompt and the tokens decoded behind it kept, as one: the mean over both, weighted by what was sampled of each. */
export function joinedKept(prompt: KeptMass | undefined, decoded: KeptMass | undefined): KeptMass | undefined {
  if (prompt === undefined || decoded === undefined) return prompt ?? decoded;
  const [first, second] = [prompt.queries * prompt.heads, decoded.queries * decoded.heads];
  return {
    mean: (first * prompt.mean + second * decoded.mean) / (first + second),
    least: Math.min(prompt.least, decoded.least),
    queries: prompt.queries + decoded.queries,
    heads: Math.max(prompt.heads, decoded.heads),
  };
}
