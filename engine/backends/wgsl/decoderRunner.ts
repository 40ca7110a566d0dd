/** A transformer on the GPU behind the Runner interface. */
import type { AppendOptions, DecoderSpec, PositionPlan, Runner, RunnerOptions, StreamTimes } from "../../api.ts";
import type { AttentionChoice, AttentionPolicy } from "../../attention/api.ts";
import { openCacheError } from "../../attention/cacheError.ts";
import { openChunkPositions } from "../../attention/chunkPositions.ts";
import { massBytes } from "../../attention/decodedMass.ts";
import { checkFlash3, openFlash3Attention } from "../../attention/flash3.ts";
import { headFactsOnDevice } from "../../attention/headFacts.ts";
import { joinedKept } from "../../attention/patterns/keptMass.ts";
import { patternOf } from "../../attention/patterns/patternOf.ts";
import { checkTopPages } from "../../attention/patterns/quest.ts";
import { formatAttention } from "../../attention/policy.ts";
import { poolOnDevice, type PoolSource } from "../../attention/pool.ts";
import { repositionKeys } from "../../attention/reposition.ts";
import type { RingWorkers } from "../../attention/ring/coordinator.ts";
import { checkRing, openRingPrefill } from "../../attention/ring/prefill.ts";
import { isByContent } from "../../attention/sparse/online.ts";
import { attendStreamed } from "../../attention/stream.ts";
import { openTap } from "../../attention/tap.ts";
import { openVariants } from "../../attention/variants.ts";
import { F32_CACHE, WHOLE } from "../../attention/wholeOnly.ts";
import { EngineError, throwIfAborted } from "../../errors.ts";
import { openReadback, storageBuffer, uploadedBuffer } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import { openRecorder } from "../../gpu/dispatch.ts";
import { chooseVariants } from "../../gpu/selfTest.ts";
import type { ShaderCache } from "../../gpu/shader.ts";
import { openLinear } from "../../kernels/linear.ts";
import type { Span } from "../../kernels/attentionOps.ts";
import { checkShapes, nothingSampled, openOperations } from "../../kernels/ops.ts";
import { cacheCapacity } from "../../kv-cache/capacity.ts";
import { openStaging } from "../../kv-cache/hostSlabs.ts";
import { openPagedCache } from "../../kv-cache/pages.ts";
import {
  addAttended,
  destroyAttentionActivations,
  embedTokens,
  lastLogits,
  lastState,
  openActivations,
  openAttentionActivations,
  projectLayer,
  type GpuDecoder,
} from "../../models/decoder.ts";
import { slopesOf } from "../../position/alibi.ts";
import { layerBands, positionPlan } from "../../position/bands.ts";
import { sinksPlan } from "../../position/sinks.ts";
import { checkIds, checkMask, checkPlan, checkRoom } from "../../reference/checks.ts";
import { checkPoolRequest } from "../../reference/pool.ts";
import { checkSampling, uniformAt } from "../../reference/sample.ts";
import { logitsOfStates, openAllLogits } from "./allLogits.ts";
import { gpuPages } from "./cachedPages.ts";
import { loadDecoder, matrixUses } from "./loadDecoder.ts";
import { MAX_CHUNK_TOKENS } from "../../models/chunkSizes.ts";
import { openPace } from "./pace.ts";
import { openSparseLayers } from "./sparseLayers.ts";

const DEFAULT_TAP_BYTES = 256 * 2 ** 20;

export interface GpuDecoderOptions extends RunnerOptions {
  /** Largest buffer of weights, keys, values or saved queries; by default what the device binds. */
  maxBindingBytes?: number;
  /** Pages of a slab of the cache at most; what a buffer holds by default. */
  slabPages?: number;
  /** Use no more than WebGPU guarantees everywhere. */
  minimumLimits?: boolean;
  /** Starts the workers of a ring; absent where there are none. */
  ring?: RingWorkers | undefined;
  /** Scores that dense attention may hold at once (default 256 MiB). */
  denseBytes?: number;
}

export async function openGpuDecoder(
  gpu: EngineDevice,
  shaders: ShaderCache,
  spec: DecoderSpec,
  options: GpuDecoderOptions,
): Promise<Runner> {
  const { weights, kv = F32_CACHE } = options;
  checkShapes(spec);
  const maxBindingBytes = Math.min(options.maxBindingBytes ?? Infinity, gpu.maxBufferBytes);
  let choice = options.attention ?? WHOLE;
  const canRing = options.ring !== undefined;
  checkChoice(spec, choice, canRing);
  checkFlash3(choice, kv);
  const recorder = openRecorder(gpu);
  const readback = openReadback(gpu);
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const loaded = await loadDecoder(spec, weights, gpu, { ...options, maxBindingBytes });
  const { variants } = await chooseVariants(gpu, shaders, options.products ?? "exact");
  const acts = openActivations(spec, gpu, MAX_CHUNK_TOKENS);
  const linear = await openLinear(matrixUses(spec, loaded.weights, variants), {
    ...{ gpu, shaders, recorder, placeholder, variants },
    maxTokens: acts.maxTokens,
  });
  const slopes = uploadedBuffer(gpu, "slopes", slopesOf(spec));
  const op = await openOperations(spec, linear, shaders, recorder, { placeholder, slopes, formats: kv });
  const capacityOf = (next: AttentionChoice): number => cacheCapacity(spec, kv, next, acts.maxTokens, options.capacityTokens);
  let capacityTokens = capacityOf(choice);
  const cache = openPagedCache({
    ...{ spec, gpu, choice, capacityTokens, maxBindingBytes, formats: kv, chunkTokens: acts.maxTokens },
    ...(options.slabPages === undefined ? {} : { slabPages: options.slabPages }),
  });
  /** What config.json or the user says, and what the attention policy made of it when tokens were last read. */
  let asked = positionPlan(spec.rope, spec, spec.maxPositionEmbeddings);
  let plan = effectivePlan(asked, choice);
  let pattern = patternOf(choice.policy);
  const bandsOf = (layer: number): number => layerBands(plan, spec.layers[layer]).length;
  const tap = openTap(
    spec,
    gpu,
    { tapBytes: options.tapBytes ?? DEFAULT_TAP_BYTES, maxBindingBytes, maxTokens: acts.maxTokens },
    bandsOf,
  );
  const positions = openChunkPositions(spec, gpu, cache, acts.maxTokens);
  const staging = openStaging(gpu);
  const streamed: StreamTimes = { slabs: 0, bytes: 0, transferMs: 0, computeMs: 0 };
  const cacheError = openCacheError(gpu, readback, cache, spec.layerCount);
  /** The sampled token, and what it is measured by. */
  const chosen = storageBuffer(gpu, "chosen token", massBytes(spec));
  const attending = openVariants({
    ...{ spec, gpu, recorder, shaders, op, cache, positions, slopes, report: chosen },
    ...{ choice: () => choice, chunkTokens: acts.maxTokens, maxBytes: options.denseBytes },
  });
  const ring =
    options.ring === undefined
      ? undefined
      : openRingPrefill({
          ...{ spec, gpu, cache, tap, workers: options.ring },
          options: {
            ...{ weightFormat: options.weightFormat, products: options.products ?? "exact", kv },
            minimumLimits: options.minimumLimits ?? false,
          },
        });
  const flash3 = openFlash3Attention({ spec, gpu, shaders, recorder, op, slopes, maxTokens: acts.maxTokens });
  let bands = plan.bands.length;
  const decoder: GpuDecoder = {
    ...{ spec, op, acts, positions, cache, tap, cacheError, variants: attending, flash3: undefined },
    attention: openAttentionActivations(spec, gpu, bands, acts.maxTokens),
    weights: loaded.weights,
  };
  const sparse = openSparseLayers(decoder, { gpu, shaders, recorder, readback, slopes, formats: kv, maxBindingBytes });
  const allowedBuffer = storageBuffer(gpu, "allowed tokens", Math.ceil(spec.vocabSize / 32) * 4);
  const pace = openPace(spec.layerCount, acts.maxTokens);
  /** Positions or attention were set since the buffers were made for them. */
  let isChanged = true;
  /** The state buffer belongs to the last cached token. */
  let stateIsLast = false;
  /** The next append goes on with the prompt of the last one. */
  let goesOn = false;

  /** Buffers that depend on positions and policy, made where they are next needed: both may change often, and in turn, before anything runs. */
  async function follow(): Promise<void> {
    recorder.submit();
    plan = effectivePlan(asked, choice);
    positions.setPlan(plan);
    // Decoding by top pages looks further than the window that prompts are read with.
    positions.setWindow(choice.policy.kind === "window" && choice.topPages === undefined ? choice.policy.window : undefined);
    await cache.setCopies(plan.copies.length);
    decoder.flash3 = await flash3.follow(choice.policy.kind === "flash3", plan.copies.length);
    decoder.op = decoder.flash3?.op ?? op;
    if (bands !== plan.bands.length) {
      bands = plan.bands.length;
      tap.setBands(bandsOf, "no token was read since the positions changed");
      destroyAttentionActivations(decoder.attention);
      decoder.attention = openAttentionActivations(spec, gpu, bands, acts.maxTokens);
    }
    recorder.forget();
    isChanged = false;
  }

  async function reserve(tokens: number): Promise<void> {
    // A decoded token waits for the one that is sampled behind it, but not longer.
    recorder.submit();
    if (isChanged) await follow();
    const grown = await cache.reserve(tokens);
    const made = await tap.prepare(cache.length);
    if (grown || made) recorder.forget();
  }

  /** Runs one chunk through all layers: a decoded token is only recorded, the rest is waited for piece by piece. */
  async function runChunk(
    ids: Int32Array<ArrayBuffer>,
    chunk: { wait: boolean; isDecoded: boolean; isLast: boolean },
  ): Promise<void> {
    const span = { start: cache.length, tokens: ids.length };
    gpu.device.queue.writeBuffer(acts.ids, 0, ids);
    const shown = chunk.isDecoded && isForPrompts(choice) ? undefined : pattern;
    if (positions.write(span.start, span.tokens, shown)) recorder.forget();
    tap.begin({ ...span, ...chunk });
    attending.begin({ ...span, ...chunk });
    embedTokens(decoder, span.tokens);
    for (let layer = 0; layer < spec.layerCount; layer++) {
      if (choice.policy.kind === "stream") await runStreamedLayer(layer, span);
      else await sparse.run(layer, span, shown);
      const perSubmission = isDense(choice) ? 1 : pace.layersPerSubmission;
      const isBorder = (layer + 1) % perSubmission === 0 && layer + 1 < spec.layerCount;
      if (chunk.wait && isBorder) await recorder.finish();
    }
    lastState(decoder, span.tokens);
    if (chunk.wait) await recorder.finish();
    cache.advance(span.tokens);
    decoder.flash3?.tiles.written(cache.length);
    attending.advance(cache.length);
    if (choice.policy.kind === "stream") {
      recorder.submit();
      await cache.spill(readback);
    }
    stateIsLast = true;
  }

  /** Keys and values that lie in host memory pass by slab by slab. */
  async function runStreamedLayer(layer: number, span: Span): Promise<void> {
    const { acts: rows, attention } = decoder;
    projectLayer(decoder, layer, span);
    const chunk = { qkv: rows.qkv, rotated: attention.rotated };
    const into = { out: rows.attended, lse: attention.lse, parts: attention.parts };
    const at = positions.layer(layer);
    const source = { gpu, op, recorder, staging, times: streamed };
    const lse = await attendStreamed(source, chunk, cache.layer(layer), at, into, span);
    tap.save(op, layer, chunk, at, lse);
    addAttended(decoder, layer, span.tokens);
  }

  /** A whole prompt by a ring of workers; what they cached lies in this cache afterwards. */
  async function readByRing(
    ids: ArrayLike<number>,
    policy: AttentionPolicy & { kind: "ring" },
    asked: AppendOptions,
  ): Promise<Float32Array<ArrayBuffer> | undefined> {
    if (ring === undefined) throw new RangeError("a ring was chosen without workers for it");
    const { ranks, layout } = policy;
    const wantsAll = asked.logits === "all";
    const states = await ring.read(ids, { plan, ranks, layout, states: wantsAll ? "all" : "last" }, asked);
    const all = wantsAll ? await logitsOfStates({ gpu, readback, decoder, recorder }, states) : undefined;
    const E = spec.hiddenSize;
    gpu.device.queue.writeBuffer(acts.x, 0, states, states.length - E, E);
    lastState(decoder, 1);
    recorder.submit();
    stateIsLast = true;
    return all;
  }

  async function lastTokenLogits(): Promise<Float32Array<ArrayBuffer>> {
    lastLogits(decoder);
    recorder.submit();
    return new Float32Array(await readback.read(acts.logits, 0, spec.vocabSize * 4));
  }

  function tapNow(): Runner["tap"] {
    const { layers: gone, because } = sparse.forgotten;
    if (gone.size === 0) return { layers: tap.layers, because: tap.because, from: tap.from };
    return { layers: tap.layers.filter((layer) => !gone.has(layer)), because, from: tap.from };
  }

  function poolSource(): PoolSource {
    const parts = { spec, gpu, recorder, readback, op: decoder.op, cache, tap, positions, staging };
    const seen = (layer: number) => sparse.seen(layer);
    return { ...parts, seen, chosenRoom: attending.chosenRoom };
  }

  function empty(): void {
    ring?.forget();
    recorder.submit();
    cache.truncate(0);
    tap.truncate(0);
    attending.truncate(0);
    sparse.cut(0);
    cacheError.reset();
    stateIsLast = false;
  }

  const pages = gpuPages({
    ...{ spec, gpu, recorder, readback, cache, reserve },
    // Pages come back before anything runs, so `plan` may still be that of before.
    copies: () => effectivePlan(asked, choice).copies.length,
    onImport: () => {
      decoder.flash3?.tiles.forget();
      tap.skip(cache.length);
      stateIsLast = false;
    },
  });

  return {
    kind: "wgsl",
    pages,
    device: gpu.description,
    get capacityTokens() {
      return capacityTokens;
    },
    capacityFor: capacityOf,
    get tap() {
      return tapNow();
    },
    quantizationError: loaded.quantizationError,
    kv,
    get streamed() {
      return streamed.slabs === 0 ? undefined : { ...streamed };
    },
    get keptMass() {
      return joinedKept(sparse.keptMass, attending.keptMass);
    },
    get ring() {
      return ring?.report;
    },
    get denseScores() {
      return attending.denseScores;
    },
    get cacheError() {
      return cacheError.error;
    },
    get length() {
      return cache.length;
    },
    lost: gpu.lost,

    setPositions(next) {
      checkPlan(next, spec);
      if (next.key !== asked.key) {
        empty();
        isChanged = true;
      }
      asked = next;
    },

    setAttention(next) {
      if (formatAttention(next) === formatAttention(choice)) return;
      checkChoice(spec, next, canRing);
      checkFlash3(next, kv);
      choice = next;
      pattern = patternOf(next.policy);
      capacityTokens = capacityOf(next);
      empty();
      cache.setChoice(next, capacityTokens);
      isChanged = true;
    },

    async repositionCache(next) {
      gpu.check();
      checkPlan(next, spec);
      // Keys that were rounded cannot be turned without rounding them again, and evicted ones would be missing.
      if (spec.rotaryDim === 0 || kv.keys !== "f32") return false;
      if (["sinks", "stream", "flash3"].includes(choice.policy.kind)) return false;
      const before = plan;
      asked = next;
      await follow();
      await repositionKeys({ spec, gpu, recorder, op, cache }, before, next);
      attending.truncate(0);
      tap.setBands(bandsOf, "the keys were moved to other positions, and the prompt's queries were not");
      stateIsLast = false;
      return true;
    },

    truncate(lengthTokens) {
      const before = cache.length;
      const after = cache.truncate(decoder.flash3?.tiles.cut(lengthTokens, before) ?? lengthTokens);
      if (after !== before) {
        tap.truncate(after);
        attending.truncate(after);
        sparse.cut(after);
        if (after === 0) ring?.forget();
        stateIsLast = false;
      }
      return after;
    },

    async append(ids, appendOptions = {}) {
      const { signal: stop, logits: wanted = "none", moreFollows = false } = appendOptions;
      gpu.check();
      checkIds(ids, spec.vocabSize);
      checkRoom(ids.length, cache.length, capacityTokens);
      await reserve(Math.min(ids.length, cache.reserveTokens));
      if (await attending.prepare(plan, ids.length)) recorder.forget();
      if (choice.policy.kind === "ring" && cache.length === 0) {
        const rows = await readByRing(ids, choice.policy, appendOptions);
        return wanted === "last" ? lastTokenLogits() : rows;
      }
      const wait = ids.length > 1 || wanted !== "none";
      const isDecoded = ids.length === 1 && !goesOn;
      await sparse.begin(choice, asked, { start: cache.length, tokens: ids.length, isDecoded, goesOn });
      goesOn = false;
      const all = wanted === "all" ? openAllLogits({ gpu, readback, decoder, recorder }, ids.length) : undefined;
      try {
        for (let done = 0; done < ids.length;) {
          throwIfAborted(stop);
          const most = isDense(choice) ? acts.maxTokens : (sparse.room(cache.length) ?? pace.chunkTokens);
          const chunk = Int32Array.from(ids.slice(done, done + Math.min(most, acts.maxTokens)));
          const began = performance.now();
          if (done > 0 && chunk.length + done > cache.reserveTokens) await reserve(chunk.length);
          await runChunk(chunk, { wait, isDecoded, isLast: !moreFollows && done + chunk.length === ids.length });
          if (wait && chunk.length > 1) pace.measured(chunk.length, performance.now() - began);
          if (all !== undefined) await all.take(chunk.length, done);
          done += chunk.length;
          appendOptions.onProgress?.(done);
        }
      } finally {
        all?.destroy();
        if (all !== undefined) recorder.forget();
      }
      goesOn = appendOptions.moreFollows ?? false;
      await cacheError.read();
      await sparse.end();
      if (all !== undefined) return all.logits;
      if (wanted === "none" || !stateIsLast) return undefined;
      return lastTokenLogits();
    },

    async sample(sampling, allowed) {
      gpu.check();
      checkSampling(sampling);
      if (!stateIsLast) {
        throw new EngineError("bad-argument", "there is no last token to sample behind", "append at least one token first");
      }
      if (allowed !== undefined) {
        checkMask(allowed, spec.vocabSize);
        gpu.device.queue.writeBuffer(allowedBuffer, 0, allowed);
      }
      const { temperature, topP, seed } = sampling;
      lastLogits(decoder);
      const choice = { temperature, topP, uniform01: uniformAt(seed, cache.length), useMask: allowed !== undefined };
      op.sample(acts.logits, allowedBuffer, chosen, choice);
      const { mass } = attending;
      const report = await readback.readBehind(recorder, chosen, mass.reportBytes);
      mass.take(report);
      const token = new Uint32Array(report, 0, 1)[0] ?? 0;
      if (nothingSampled(token)) {
        throw new EngineError("bad-weights", "the model's logits are not numbers", "check the weights, or choose f32 weights");
      }
      return token;
    },

    async pool(request, stop) {
      gpu.check();
      throwIfAborted(stop);
      if (isChanged) await follow();
      const chosenHeads = checkPoolRequest(request, { spec, length: cache.length, tap: tapNow() });
      return poolOnDevice(poolSource(), request, chosenHeads, stop);
    },

    async headFacts(most, stop) {
      gpu.check();
      throwIfAborted(stop);
      if (isChanged) await follow();
      return headFactsOnDevice(poolSource(), shaders, most, stop);
    },

    loseDevice() {
      gpu.destroy();
      return true;
    },
    dispose() {
      ring?.close();
      gpu.destroy();
    },
  };
}

/** What a policy makes of the positions. */
function effectivePlan(plan: PositionPlan, { policy }: AttentionChoice): PositionPlan {
  return policy.kind === "sinks" ? sinksPlan(plan, policy.sinks, policy.window) : plan;
}

/** Prompts are read in chunks as long as the activations allow. */
function isDense({ policy }: AttentionChoice): boolean {
  return policy.kind === "dense";
}

/** True where decoded tokens see every key. */
function isForPrompts({ policy, topPages }: AttentionChoice): boolean {
  return topPages !== undefined || policy.kind === "a-shape";
}

/** Throws `bad-argument` for what this backend does not run. */
function checkChoice(spec: DecoderSpec, choice: AttentionChoice, canRing: boolean): void {
  const { kind } = choice.policy;
  checkTopPages(spec, choice);
  if (choice.policy.kind === "ring") {
    checkRing(spec, choice.policy, canRing);
    return;
  }
  if (patternOf(choice.policy) !== undefined || isByContent(choice.policy)) return;
  if (["flash", "flash3", "dense", "sinks", "stream"].includes(kind)) return;
  throw new EngineError("bad-argument", `attention "${kind}" does not run on WebGPU yet`, "choose flash or a window");
}
