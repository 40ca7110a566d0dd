import { PAGE_TOKENS, type DecoderSpec, type Runner, type RunnerOptions } from "../api.ts";
import { checkF32Cache, checkWhole, F32_CACHE } from "../attention/wholeOnly.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { checkWeights } from "../models/weights.ts";
import { layerBands, positionPlan } from "../position/bands.ts";
import type { Reals } from "../position/rope.ts";
import { referenceCache } from "./cache.ts";
import { checkIds, checkPlan, checkRoom } from "./checks.ts";
import { forward, logitsOf, readDecoder, rotatedKeys, rotatedQueries } from "./decoder.ts";
import { checkPoolRequest, poolAttention } from "./pool.ts";
import { sampleLogits, uniformAt } from "./sample.ts";

/** Plain loops take hours beyond this; the other backends are for that. */
const MAX_TOKENS = 65536;
const DEFAULT_TAP_BYTES = 256 * 2 ** 20;

/** A transformer in plain loops: slow, and the one the others are compared with. Until `setPositions` it rotates as config.json says. */
export async function openReferenceDecoder(spec: DecoderSpec, options: RunnerOptions): Promise<Runner> {
  const { weights, weightFormat, signal } = options;
  throwIfAborted(signal);
  checkWeights(spec, weights);
  checkF32Cache(options.kv, "the reference");
  const capacityTokens = Math.min(options.capacityTokens ?? MAX_TOKENS, MAX_TOKENS);
  if (!Number.isSafeInteger(capacityTokens) || capacityTokens < 1) {
    throw new EngineError("bad-argument", `a KV cache of ${capacityTokens} tokens holds nothing`, "give at least one token");
  }
  const tap = chooseTap(spec, capacityTokens, options.tapBytes ?? DEFAULT_TAP_BYTES);
  const decoder = await readDecoder(spec, weights, weightFormat, options);
  const cache = referenceCache(spec, "f32");
  const queries = new Map(tap.layers.map((layer) => [layer, [] as Reals[]]));
  let plan = positionPlan(spec.rope, spec, spec.maxPositionEmbeddings);
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
    quantizationError: decoder.quantizationError,
    kv: F32_CACHE,
    get length() {
      return cache.length;
    },
    lost: new Promise<void>(() => undefined),

    setPositions(next) {
      checkPlan(next, spec);
      if (next.key !== plan.key) cut(0);
      plan = next;
    },

    setAttention(choice) {
      checkWhole(choice, "the reference");
    },

    async repositionCache(next) {
      checkPlan(next, spec);
      if (spec.rotaryDim === 0) return false;
      plan = next;
      for (const [layer, kind] of spec.layers.entries()) {
        cache.rotateAgain(layer, (bareKeys) => rotatedKeys(decoder, plan, kind, bareKeys, 0));
      }
      lastState = undefined;
      return true;
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
        const states = forward(decoder, chunk, plan, cache, (layer, bare) => queries.get(layer)?.push(bare));
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
      const scored = new Map(
        layers.map((layer) => {
          const kind = spec.layers[layer] ?? { window: undefined, rotation: "none" };
          const bare = concatenate(queries.get(layer) ?? []);
          const bands = layerBands(plan, kind);
          return [layer, { queries: rotatedQueries(decoder, plan, kind, bare, 0), keys: cache.keys(layer), bands }];
        }),
      );
      return poolAttention(
        request,
        facts,
        (layer) => scored.get(layer) ?? { queries: [], keys: [], bands: [] },
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
function chooseTap(spec: DecoderSpec, capacityTokens: number, tapBytes: number): Runner["tap"] {
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

function keepTokens(chunks: readonly Reals[], tokens: number, spec: DecoderSpec): Reals[] {
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
