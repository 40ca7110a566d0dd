/** How much of a prefill goes into one submission: short enough that the screen stays alive and a stop is heard, long enough to be fast. */
import { MAX_CHUNK_TOKENS } from "../../models/chunkSizes.ts";

/** Time of one submission, and the time above which a chunk is cut into several, at layer borders. */
const GOAL_MS = 75;
const LONG_MS = 100;
/** A stop is heard between chunks: they grow while they are shorter than this, and shrink when they are much longer. */
const CHUNK_MS = 400;
/** The matmul kernels work in tiles of this many tokens, so a smaller chunk is not a faster one. */
const MIN_TOKENS = 64;

export interface Pace {
  readonly chunkTokens: number;
  /** Layers between two waits for the device. */
  readonly layersPerSubmission: number;
  /** Learns from a chunk of `tokens` tokens that took `elapsedMs` in all. */
  measured(tokens: number, elapsedMs: number): void;
}

export function openPace(layerCount: number, maxTokens: number): Pace {
  const most = Math.min(MAX_CHUNK_TOKENS, maxTokens);
  const least = Math.min(MIN_TOKENS, most);
  let chunkTokens = least;
  let layersPerSubmission = layerCount;
  return {
    get chunkTokens() {
      return chunkTokens;
    },
    get layersPerSubmission() {
      return layersPerSubmission;
    },
    measured(tokens, elapsedMs) {
      // A larger chunk follows only a full one, so its layers take at most twice as long.
      const grows = elapsedMs < CHUNK_MS / 2 && tokens === chunkTokens;
      const nextMs = elapsedMs * (grows ? 2 : 1);
      if (grows) chunkTokens = Math.min(most, chunkTokens * 2);
      else if (elapsedMs > 2 * CHUNK_MS) chunkTokens = Math.max(least, Math.floor(chunkTokens / 2));
      layersPerSubmission = nextMs > LONG_MS ? Math.max(1, Math.floor((GOAL_MS * layerCount) / nextMs)) : layerCount;
    },
  };
}
