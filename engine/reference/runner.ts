import { PAGE_TOKENS, type ModelSpec, type Runner, type RunnerOptions } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { checkWeights } from "../models/weights.ts";
import type { Reals } from "../position/rope.ts";
import { ropeBase, ropeTable } from "../position/scaling.ts";
import { referenceCache } from "./cache.ts";
import { checkIds, checkRoom } from "./checks.ts";
import { forward, logitsOf, readDecoder } from "./decoder.ts";
import { checkPoolRequest, poolAttention } from "./pool.ts";
import { sampleLogits, uniformAt } from "./sample.ts";

/** Plain loops take hours beyond this; the other backends are for that. */
const MAX_TOKENS = 65536;
const DEFAULT_TAP_BYTES = 256 * 2 ** 20;

/** A runner in plain loops: slow, and the one the others are compared with. Until `setRope` it rotates as config.json says. */
export async function openReferenceRunner(options: RunnerOptions): Promise<Runner> {
  const { spec, weights, weightFormat, signal } = options;
  throwIfAborted(signal);
  checkWeights(spec, weights);
  const capacityTokens = Math.min(options.capacityTokens ?? MAX_TOKENS, MAX_TOKENS);
  if (!Number.isSafeInteger(capacityTokens) || capacityTokens < 1) {
    throw new EngineError("bad-argument", `a KV cache of ${capacityTokens} tokens holds nothing`, "give at least one token");
  }
  const tap = chooseTap(spec, capacityTokens, options.tapBytes ?? DEFAULT_TAP_BYTES);
  const decoder = await readDecoder(spec, weights, weightFormat, options);
  const cache = referenceCache(spec, "f32");
  const queries = new Map(tap.layers.map((layer) => [layer, [] as Reals[]]));
  let rope = ropeTable(spec.rope, ropeBase(spec), spec.maxPositionEmbeddings);
  /** Final state [E] of the last cached token; undefined after a cut, when it is not known. */
  let lastState: Reals | undefined;

  function cut(lengthTokens: number): void {
    if (lengthTokens === cache.length) return;
    cache.cut(lengthTokens);
    // Queries are kept in chunks of at most a page that never cross a page's edge, so whole chunks go.
    for (const [layer, chunks] of queries) queries.set(layer, keepTokens(chunks, lengthTokens, spec));
    lastState = undefined;
  }

  return {
    kind: "reference",
    device: "plain loops on the CPU",
    capacityTokens,
    tap,
    get length() {
      return cache.length;
    },
    lost: new Promise<void>(() => undefined),

    setRope(table) {
      if (table.invFreq.length !== spec.rotaryDim / 2) {
        const message = `a rotation of ${table.invFreq.length} pairs for a model of ${spec.rotaryDim / 2}`;
        throw new EngineError("bad-argument", message, "make the table from this model's spec");
      }
      if (table.key !== rope.key) cut(0);
      rope = table;
    },

    truncate(lengthTokens) {
      if (lengthTokens < cache.length) cut(Math.floor(Math.max(lengthTokens, 0) / PAGE_TOKENS) * PAGE_TOKENS);
      return cache.length;
    },

    async append(ids, appendOptions = {}) {
      const { signal: stop, logits: wanted = "none" } = appendOptions;
      checkIds(ids, spec.vocabSize);
      checkRoom(ids.length, cache.length, capacityTokens);
      const all = wanted === "all" ? new Float32Array(ids.length * spec.vocabSize) : undefined;
      for (let done = 0; done < ids.length;) {
        throwIfAborted(stop);
        const room = PAGE_TOKENS - (cache.length % PAGE_TOKENS);
        const chunk = ids.slice(done, done + room);
        const states = forward(decoder, chunk, rope, cache, (layer, rotated) => queries.get(layer)?.push(rotated));
        all?.set(logitsOf(decoder, states), done * spec.vocabSize);
        lastState = states.slice(-spec.hiddenSize);
        done += chunk.length;
        appendOptions.onProgress?.(done);
        await otherTasks();
      }
      if (all !== undefined) return all;
      return wanted === "last" && lastState !== undefined ? Float32Array.from(logitsOf(decoder, lastState)) : undefined;
    },

    async sample(sampling, allowed) {
      if (lastState === undefined) {
        throw new EngineError("bad-argument", "there is no last token to sample behind", "append at least one token first");
      }
      const logits = Float32Array.from(logitsOf(decoder, lastState));
      return sampleLogits(logits, sampling, allowed, uniformAt(sampling.seed, cache.length));
    },

    async pool(request, stop) {
      const facts = { spec, length: cache.length, tap };
      const { layers } = checkPoolRequest(request, facts);
      const joined = new Map(layers.map((layer) => [layer, concatenate(queries.get(layer) ?? [])]));
      return poolAttention(
        request,
        facts,
        (layer) => ({ queries: joined.get(layer) ?? new Float32Array(0), keys: cache.keys(layer) }),
        async () => {
          throwIfAborted(stop);
          await otherTasks();
        },
      );
    },

    loseDevice: () => false,
    dispose() {
      cut(0);
    },
  };
}

/** The last layers whose queries fit: answers are read off late layers. */
function chooseTap(spec: ModelSpec, capacityTokens: number, tapBytes: number): Runner["tap"] {
  const layerBytes = capacityTokens * spec.headCount * spec.headDim * 4;
  const kept = Math.min(spec.layerCount, Math.floor(tapBytes / layerBytes));
  const layers = Array.from({ length: kept }, (_, index) => spec.layerCount - kept + index);
  if (kept === spec.layerCount) return { layers, because: "all layers fit" };
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  return {
    layers,
    because: `queries of one layer take ${mib(layerBytes)} MiB and the attention tap may use ${mib(tapBytes)} MiB`,
  };
}

function keepTokens(chunks: readonly Reals[], tokens: number, spec: ModelSpec): Reals[] {
  const kept: Reals[] = [];
  let held = 0;
  for (const chunk of chunks) {
    held += chunk.length / (spec.headCount * spec.headDim);
    if (held <= tokens) kept.push(chunk);
  }
  return kept;
}

function concatenate(chunks: readonly Reals[]): Float32Array {
  const whole = new Float32Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

/** Lets abort signals and messages through between chunks; the loops themselves never give way. */
function otherTasks(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
