/** Logits of every token of a prompt, in chunks of bounded size. */
import { storageBuffer, type Readback } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import type { Recorder } from "../../gpu/dispatch.ts";
import { allLogits, type GpuDecoder } from "../../models/decoder.ts";

/** Bound on the logits of one chunk. */
const CHUNK_BYTES = 32 * 2 ** 20;

export interface LogitsSource {
  gpu: EngineDevice;
  recorder: Recorder;
  readback: Readback;
  decoder: GpuDecoder;
}

export interface AllLogits {
  /** Tokens that are taken at once. */
  readonly maxTokens: number;
  /** [tokens, V] */
  readonly logits: Float32Array<ArrayBuffer>;
  /** Takes those of the `count` tokens whose states are in the residual stream; they are the tokens from `first` on. */
  take(count: number, first: number): Promise<void>;
  destroy(): void;
}

export function openAllLogits({ gpu, recorder, readback, decoder }: LogitsSource, tokens: number): AllLogits {
  const { vocabSize } = decoder.spec;
  const maxTokens = Math.max(1, Math.min(decoder.acts.maxTokens, Math.floor(CHUNK_BYTES / (4 * vocabSize))));
  const buffer = storageBuffer(gpu, "all logits", Math.min(tokens, maxTokens) * vocabSize * 4);
  const logits = new Float32Array(tokens * vocabSize);
  return {
    maxTokens,
    logits,
    async take(count, first) {
      for (let done = 0; done < count; done += maxTokens) {
        const part = Math.min(maxTokens, count - done);
        allLogits(decoder, buffer, part, done);
        recorder.submit();
        const rows = new Float32Array(await readback.read(buffer, 0, part * vocabSize * 4));
        logits.set(rows, (first + done) * vocabSize);
      }
    },
    destroy: () => buffer.destroy(),
  };
}

/** Logits [T, V] of a final residual stream [T, E] that was computed elsewhere. */
export async function logitsOfStates(
  source: LogitsSource,
  states: Float32Array<ArrayBuffer>,
): Promise<Float32Array<ArrayBuffer>> {
  const { gpu, recorder, decoder } = source;
  const E = decoder.spec.hiddenSize;
  const tokens = states.length / E;
  const all = openAllLogits(source, tokens);
  try {
    for (let first = 0; first < tokens; first += all.maxTokens) {
      const count = Math.min(all.maxTokens, tokens - first);
      gpu.device.queue.writeBuffer(decoder.acts.x, 0, states, first * E, count * E);
      await all.take(count, first);
    }
    return all.logits;
  } finally {
    all.destroy();
    recorder.forget();
  }
}
