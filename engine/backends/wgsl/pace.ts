/** How much of a prefill goes into one submission: short enough that the screen stays alive and a stop is heard, long enough to be fast. */

const GOAL_MS = 75;
const LONG_MS = 100;
const SHORT_MS = 50;
/** A stop is heard between chunks, so a chunk should not take longer; below FIRST_TOKENS a chunk costs more per token. */
const CHUNK_MS = 2500;
const MIN_TOKENS = 16;
const FIRST_TOKENS = 64;
export const MAX_CHUNK_TOKENS = 512;

export interface Pace {
  readonly chunkTokens: number;
  /** Layers between two waits for the device. */
  readonly layersPerSubmission: number;
  /** Learns from a chunk of `tokens` tokens that took `elapsedMs` in all. */
  measured(tokens: number, elapsedMs: number): void;
}

export function openPace(layerCount: number, maxTokens: number): Pace {
  const most = Math.min(MAX_CHUNK_TOKENS, maxTokens);
  let chunkTokens = Math.min(FIRST_TOKENS, most);
  let layersPerSubmission = layerCount;
  return {
    get chunkTokens() {
      return chunkTokens;
    },
    get layersPerSubmission() {
      return layersPerSubmission;
    },
    measured(tokens, elapsedMs) {
      const layerMs = elapsedMs / layerCount;
      layersPerSubmission = elapsedMs > LONG_MS ? Math.max(1, Math.floor(GOAL_MS / layerMs)) : layerCount;
      if (elapsedMs > CHUNK_MS) chunkTokens = Math.max(Math.min(MIN_TOKENS, most), Math.floor(chunkTokens / 2));
      else if (elapsedMs < SHORT_MS && tokens === chunkTokens) chunkTokens = Math.min(most, chunkTokens * 2);
    },
  };
}
