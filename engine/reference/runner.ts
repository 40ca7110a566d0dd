import { CUT_TOKENS, type DecoderSpec, type PositionPlan, type Runner, type RunnerOptions } from "../api.ts";
import type { HeadFacts } from "../attention/api.ts";
import { F32_CACHE, WHOLE } from "../attention/wholeOnly.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { checkWeights } from "../models/weights.ts";
import { layerBands, positionPlan } from "../position/bands.ts";
import type { Reals } from "../position/rope.ts";
import { attentionRow, type ScoredLayer } from "./attend.ts";
import { openAttending } from "./attending.ts";
import { referenceCache } from "./cache.ts";
import { checkIds, checkPlan, checkRoom } from "./checks.ts";
import { forward, logitsOf, readDecoder, rotatedKeys, rotatedQueries } from "./decoder.ts";
import { HeadSums, spread } from "./headFacts.ts";
import { referencePages } from "./pages.ts";
import { checkPoolRequest, poolAttention } from "./pool.ts";
import { sampleLogits, uniformAt } from "./sample.ts";

/** Plain loops take hours beyond this; the other backends are for that. */
const MAX_TOKENS = 65536;
const DEFAULT_TAP_BYTES = 256 * 2 ** 20;

/** A transformer in plain loops: slow, and the one the others are compared with. Until `setPositions` it rotates as config.json says. */
export async function openReferenceDecoder(spec: DecoderSpec, options: RunnerOptions): Promise<Runner> {
  const { weights, weightFormat, signal, kv = F32_CACHE } = options;
  throwIfAborted(signal);
  checkWeights(spec, weights);
  const capacityTokens = Math.min(options.capacityTokens ?? MAX_TOKENS, MAX_TOKENS);
  if (!Number.isSafeInteger(capacityTokens) || capacityTokens < 1) {
    throw new EngineError("bad-argument", `a KV cache of ${capacityTokens} tokens holds nothing`, "give at least one token");
  }
  const tap = chooseTap(spec, capacityTokens, options.tapBytes ?? DEFAULT_TAP_BYTES);
  const decoder = await readDecoder(spec, weights, weightFormat, options);
  const cache = referenceCache(spec, "f32", kv);
  const queries = new Map(tap.layers.map((layer) => [layer, [] as Reals[]]));
  const attending = openAttending(spec, options.attention ?? WHOLE);
  /** The plan that was set, and what the attention policy makes of it. */
  let asked = positionPlan(spec.rope, spec, spec.maxPositionEmbeddings);
  let plan = attending.planFor(asked);
  /** Final state [E] of the last cached token; undefined after a cut, when it is not known. */
  let lastState: Reals | undefined;
  /** Token that the first kept query belongs to: those of restored tokens were never computed. */
  let queriesFrom = 0;
  /** The next append goes on with the prompt of the last one. */
  let goesOn = false;

  function cut(lengthTokens: number): void {
    if (lengthTokens === cache.length) return;
    cache.cut(lengthTokens);
    attending.cut(lengthTokens);
    queriesFrom = Math.min(queriesFrom, lengthTokens);
    for (const [layer, chunks] of queries) queries.set(layer, keepTokens(chunks, lengthTokens - queriesFrom, spec));
    lastState = undefined;
  }

  /** Takes another plan, which empties the cache where keys would be rotated otherwise. */
  function follow(next: PositionPlan): void {
    const planned = attending.planFor(next);
    if (planned.key !== plan.key) cut(0);
    asked = next;
    plan = planned;
  }

  const tapNow = (): Runner["tap"] => (queriesFrom === 0 ? tap : { ...tap, from: queriesFrom });

  const pages = referencePages({
    ...{ spec, cache, capacityTokens },
    plan: () => plan,
    onImport(lengthTokens) {
      queriesFrom = lengthTokens;
      attending.cut(0);
      for (const layer of tap.layers) queries.set(layer, []);
      lastState = undefined;
    },
  });

  /** Queries and keys of a tapped layer, those of restored tokens being zeros. */
  function scoredLayer(layer: number): ScoredLayer {
    const kind = spec.layers[layer] ?? { window: undefined, rotation: "none" };
    const before = new Float32Array(queriesFrom * spec.headCount * spec.headDim);
    const bare = concatenate([before, ...(queries.get(layer) ?? [])]);
    const patternAt = (position: number) => attending.seen(layer, position);
    const bands = layerBands(plan, kind);
    return { queries: rotatedQueries(decoder, plan, kind, bare, 0), keys: cache.keys(layer), bands, patternAt };
  }

  return {
    kind: "reference",
    device: "plain loops on the CPU",
    capacityTokens,
    get tap() {
      return tapNow();
    },
    pages,
    quantizationError: decoder.quantizationError,
    kv,
    get keptMass() {
      return attending.keptMass;
    },
    get length() {
      return cache.length;
    },
    lost: new Promise<void>(() => undefined),

    setPositions(next) {
      checkPlan(next, spec);
      follow(next);
    },

    setAttention(choice) {
      if (!attending.set(choice)) cut(0);
      follow(asked);
    },

    async repositionCache(next) {
      checkPlan(next, spec);
      if (spec.rotaryDim === 0) return false;
      asked = next;
      plan = attending.planFor(next);
      for (const [layer, kind] of spec.layers.entries()) {
        cache.rotateAgain(layer, (bareKeys) => rotatedKeys(decoder, plan, kind, bareKeys, 0));
      }
      lastState = undefined;
      return true;
    },

    truncate(lengthTokens) {
      if (lengthTokens < cache.length) cut(Math.floor(Math.max(lengthTokens, 0) / CUT_TOKENS) * CUT_TOKENS);
      return cache.length;
    },

    async append(ids, appendOptions = {}) {
      const { signal: stop, logits: wanted = "none", moreFollows = false } = appendOptions;
      checkIds(ids, spec.vocabSize);
      checkRoom(ids.length, cache.length, capacityTokens);
      attending.begin(asked, ids.length === 1, goesOn);
      goesOn = false;
      const all = wanted === "all" ? new Float32Array(ids.length * spec.vocabSize) : undefined;
      for (let done = 0; done < ids.length;) {
        throwIfAborted(stop);
        const chunk = ids.slice(done, done + attending.room(cache.length));
        const keepQueries = (layer: number, bare: Reals): void => void queries.get(layer)?.push(bare);
        const states = forward(decoder, chunk, plan, cache, keepQueries, attending.pattern);
        all?.set(logitsOf(decoder, states), done * spec.vocabSize);
        lastState = states.slice(-spec.hiddenSize);
        done += chunk.length;
        appendOptions.onProgress?.(done);
        await otherTasks();
      }
      goesOn = moreFollows;
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
      const facts = { spec, length: cache.length, tap: tapNow() };
      const { layers } = checkPoolRequest(request, facts);
      const scored = new Map(layers.map((layer) => [layer, scoredLayer(layer)]));
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

    async headFacts(most, stop) {
      const kept = spread(
        Array.from({ length: cache.length - queriesFrom }, (_, index) => queriesFrom + index),
        most,
      );
      const heads: HeadFacts[] = [];
      for (const layer of tapNow().layers) {
        const scored = scoredLayer(layer);
        for (let head = 0; head < spec.headCount; head++) {
          throwIfAborted(stop);
          const sums = new HeadSums();
          for (const position of kept) sums.add(attentionRow(scored, spec, position, head, position), position);
          heads.push(sums.facts(layer, head));
          await otherTasks();
        }
      }
      return { queries: kept.length, heads };
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
    const width = spec.headCount * spec.headDim;
    // A chunk may begin before a cut and end behind it.
    if (held < tokens) kept.push(chunk.subarray(0, (tokens - held) * width));
    held += chunk.length / width;
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
