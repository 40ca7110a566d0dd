/**
 * How much of the exact attention decoded tokens keep where they read a part of the keys: on sampled tokens the layer attends both ways, and the
 * share is exp(lse of what was read - lse of everything). The log-sum-exps lie behind the sampled token and come back with it.
 */
import type { DecoderSpec } from "../api.ts";
import type { Recorder } from "../gpu/dispatch.ts";
import type { KeptMass } from "./api.ts";
import { gatherKept } from "./patterns/keptMass.ts";

/** Every so many decoded tokens are sampled: attending to everything costs what choosing pages saves. */
const STRIDE = 64;
/** The sampled token and room up to the next vec4. */
const TOKEN_BYTES = 16;

export interface DecodedMass {
  /** The token at hand is sampled. */
  readonly isSampled: boolean;
  /** Bytes of the buffer that hold the sampled token and, where the last token was measured, what was. */
  readonly reportBytes: number;
  /** Called for every chunk: the first decoded token behind a prompt is sampled, and every 64th. A new prompt forgets what was gathered. */
  begin(chunk: { start: number; isDecoded: boolean }): void;
  /** Keeps log-sum-exps [H] of everything, then of what was read. */
  save(recorder: Recorder, layer: number, which: "all" | "read", lse: GPUBuffer, into: GPUBuffer): void;
  /** Gathers what `bytes` of the buffer say. */
  take(buffer: ArrayBuffer): void;
  readonly kept: KeptMass | undefined;
}

/** Size of the buffer that holds the sampled token and, behind it, what is measured. */
export function massBytes({ layerCount, headCount }: Pick<DecoderSpec, "layerCount" | "headCount">): number {
  return TOKEN_BYTES + 2 * layerCount * headCount * 4;
}

export function openDecodedMass({ layerCount, headCount }: Pick<DecoderSpec, "layerCount" | "headCount">): DecodedMass {
  const rowBytes = headCount * 4;
  let gathered = gatherKept();
  let isSampled = false;
  let isBehindPrompt = true;
  const measured = new Set<number>();

  return {
    get isSampled() {
      return isSampled;
    },
    get reportBytes() {
      return measured.size === 0 ? 4 : massBytes({ layerCount, headCount });
    },
    begin({ start, isDecoded }) {
      measured.clear();
      if (!isDecoded && !isBehindPrompt) gathered = gatherKept();
      isSampled = isDecoded && (isBehindPrompt || start % STRIDE === 0);
      isBehindPrompt = !isDecoded;
    },
    save(recorder, layer, which, lse, into) {
      recorder.copy(lse, into, rowBytes, TOKEN_BYTES + (2 * layer + (which === "all" ? 0 : 1)) * rowBytes);
      measured.add(layer);
    },
    take(buffer) {
      if (measured.size === 0) return;
      const sums = new Float32Array(buffer, TOKEN_BYTES);
      for (const layer of measured) {
        for (let head = 0; head < headCount; head++) {
          const all = sums[2 * layer * headCount + head];
          const read = sums[(2 * layer + 1) * headCount + head];
          // Both were rounded: a share is at most 1.
          gathered.add(layer, head, Math.min(1, Math.exp(read - all)));
        }
      }
      measured.clear();
    },
    get kept() {
      return gathered.summary();
    },
  };
}
