/** The WebGPU backend: our own kernels behind the Runner interface. */
import type { DecoderSpec, PositionPlan, Runner, RunnerOptions } from "../api.ts";
import { openChunkPositions } from "../attention/chunkPositions.ts";
import { poolOnDevice } from "../attention/pool.ts";
import { repositionKeys } from "../attention/reposition.ts";
import { openTap } from "../attention/tap.ts";
import { checkF32Cache, checkWhole, F32_CACHE } from "../attention/wholeOnly.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { openReadback, storageBuffer, uploadedBuffer, type Readback } from "../gpu/buffers.ts";
import { openDevice, type EngineDevice } from "../gpu/device.ts";
import { openRecorder, type Recorder } from "../gpu/dispatch.ts";
import { chooseVariants } from "../gpu/selfTest.ts";
import { openShaderCache, type ShaderCache } from "../gpu/shader.ts";
import { openLinear } from "../kernels/linear.ts";
import { checkShapes, nothingSampled, openOperations } from "../kernels/ops.ts";
import { cacheCapacity, openPagedCache } from "../kv-cache/pages.ts";
import {
  allLogits,
  destroyBandActivations,
  embedTokens,
  lastLogits,
  lastState,
  openActivations,
  openBandActivations,
  runLayer,
  type GpuDecoder,
} from "../models/decoder.ts";
import { checkWeights } from "../models/weights.ts";
import { alibiSlopes } from "../position/alibi.ts";
import { positionPlan } from "../position/bands.ts";
import { checkIds, checkMask, checkPlan } from "../reference/checks.ts";
import { checkPoolRequest } from "../reference/pool.ts";
import { checkSampling, uniformAt } from "../reference/sample.ts";
import { loadDecoder, matrixUses } from "./wgsl/loadDecoder.ts";
import { MAX_CHUNK_TOKENS, openPace } from "./wgsl/pace.ts";
import { openGpuRecurrent } from "./wgsl/recurrentRunner.ts";

const DEFAULT_TAP_BYTES = 256 * 2 ** 20;
/** Bound on the logits of one chunk when all are asked for. */
const ALL_LOGITS_BYTES = 32 * 2 ** 20;

export interface WgslRunnerOptions extends RunnerOptions {
  gpu: GPU;
  /** Use no more than WebGPU guarantees everywhere. */
  minimumLimits?: boolean;
  /** Largest buffer of weights, keys, values or saved queries; by default what the device binds. */
  maxBindingBytes?: number;
}

/** Opens the model on a device of its own. Until `setPositions` it rotates as config.json says. Throws EngineErrors only. */
export async function openWgslRunner(options: WgslRunnerOptions): Promise<Runner> {
  throwIfAborted(options.signal);
  checkWeights(options.spec, options.weights);
  const gpu = await openDevice(options.gpu, { minimumLimits: options.minimumLimits ?? false });
  try {
    return await openRunnerOn(gpu, openShaderCache(gpu), options);
  } catch (error) {
    gpu.destroy();
    throw error;
  }
}

/** The same on an open device with its compiled kernels; `dispose` takes the device with it. */
export async function openRunnerOn(
  gpu: EngineDevice,
  shaders: ShaderCache,
  options: RunnerOptions & { maxBindingBytes?: number },
): Promise<Runner> {
  const { spec } = options;
  checkF32Cache(options.kv, "this device");
  if (spec.kind === "decoder") return openDecoderOn(gpu, shaders, spec, options);
  return openGpuRecurrent(gpu, shaders, spec, options);
}

async function openDecoderOn(
  gpu: EngineDevice,
  shaders: ShaderCache,
  spec: DecoderSpec,
  options: RunnerOptions & { maxBindingBytes?: number },
): Promise<Runner> {
  const { weights } = options;
  checkShapes(spec);
  const maxBindingBytes = Math.min(options.maxBindingBytes ?? Infinity, gpu.maxBufferBytes);
  const capacityTokens = cacheCapacity(spec, maxBindingBytes, options.capacityTokens);
  const recorder = openRecorder(gpu);
  const readback = openReadback(gpu);
  const slopes =
    spec.alibi === undefined
      ? new Float32Array(spec.headCount)
      : Float32Array.from(alibiSlopes(spec.headCount, spec.alibi.maxBias));
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const loaded = await loadDecoder(spec, weights, gpu, { ...options, maxBindingBytes });
  const { variants } = await chooseVariants(gpu, shaders, options.products ?? "exact");
  const acts = openActivations(spec, gpu, MAX_CHUNK_TOKENS);
  const linear = await openLinear(matrixUses(spec, loaded.weights, variants), {
    ...{ gpu, shaders, recorder, placeholder, variants },
    maxTokens: acts.maxTokens,
  });
  const op = await openOperations(spec, linear, shaders, recorder, {
    placeholder,
    slopes: uploadedBuffer(gpu, "slopes", slopes),
  });
  const cache = openPagedCache(spec, gpu, capacityTokens);
  const tap = openTap(spec, gpu, { tapBytes: options.tapBytes ?? DEFAULT_TAP_BYTES, maxBindingBytes });
  const positions = openChunkPositions(spec, gpu, acts.maxTokens);
  let plan = positionPlan(spec.rope, spec, spec.maxPositionEmbeddings);
  const decoder: GpuDecoder = {
    spec,
    op,
    acts,
    bandActs: openBandActivations(spec, gpu, plan.bands.length, acts.maxTokens),
    positions,
    cache,
    tap,
    weights: loaded.weights,
  };
  positions.setPlan(plan);
  const allowedBuffer = storageBuffer(gpu, "allowed tokens", Math.ceil(spec.vocabSize / 32) * 4);
  const chosen = storageBuffer(gpu, "chosen token", 16);
  const pace = openPace(spec.layerCount, acts.maxTokens);
  /** The plan that the buffers are for. */
  let followed: PositionPlan | undefined;
  /** The state buffer belongs to the last cached token. */
  let stateIsLast = false;

  /** Buffers that depend on the plan, made where they are next needed: a plan may change often before anything runs. */
  async function followPlan(): Promise<void> {
    positions.setPlan(plan);
    await cache.setCopies(plan.copies.length);
    if (decoder.bandActs.bands !== plan.bands.length) {
      destroyBandActivations(decoder.bandActs);
      decoder.bandActs = openBandActivations(spec, gpu, plan.bands.length, acts.maxTokens);
    }
    recorder.forget();
  }

  async function reserve(tokens: number): Promise<void> {
    if (followed !== plan) await followPlan();
    followed = plan;
    const replaced = await cache.reserve(tokens);
    const moved = await tap.reserve(cache.allocatedTokens, cache.length);
    if (replaced || moved) recorder.forget();
  }

  /** Runs one chunk through all layers; short chunks are only queued, the rest is waited for piece by piece. */
  async function runChunk(ids: Int32Array<ArrayBuffer>, wait: boolean): Promise<void> {
    const span = { start: cache.length, tokens: ids.length };
    gpu.device.queue.writeBuffer(acts.ids, 0, ids);
    positions.write(span.start, span.tokens);
    embedTokens(decoder, span.tokens);
    for (let layer = 0; layer < spec.layerCount; layer++) {
      runLayer(decoder, layer, span);
      if (wait && (layer + 1) % pace.layersPerSubmission === 0 && layer + 1 < spec.layerCount) await recorder.finish();
    }
    lastState(decoder, span.tokens);
    if (wait) await recorder.finish();
    else recorder.submit();
    cache.advance(span.tokens);
    stateIsLast = true;
  }

  return {
    kind: "wgsl",
    device: gpu.description,
    capacityTokens,
    get tap() {
      return { layers: tap.layers, because: tap.because };
    },
    quantizationError: loaded.quantizationError,
    kv: F32_CACHE,
    get length() {
      return cache.length;
    },
    lost: gpu.lost,

    setPositions(next) {
      checkPlan(next, spec);
      if (next.key !== plan.key) {
        cache.truncate(0);
        stateIsLast = false;
        if (next.bands.length !== plan.bands.length)
          tap.setBands(next.bands.length, "no token was read since the positions changed");
      }
      plan = next;
    },

    setAttention(choice) {
      checkWhole(choice, "this device");
    },

    async repositionCache(next) {
      gpu.check();
      checkPlan(next, spec);
      if (spec.rotaryDim === 0) return false;
      const before = plan;
      plan = next;
      await followPlan();
      followed = plan;
      await repositionKeys({ spec, gpu, recorder, op, cache }, before, next);
      tap.setBands(next.bands.length, "the keys were moved to other positions, and the prompt's queries were not");
      stateIsLast = false;
      return true;
    },

    truncate(lengthTokens) {
      const before = cache.length;
      const after = cache.truncate(lengthTokens);
      if (after !== before) stateIsLast = false;
      return after;
    },

    async append(ids, appendOptions = {}) {
      const { signal: stop, logits: wanted = "none" } = appendOptions;
      gpu.check();
      checkIds(ids, spec.vocabSize);
      await reserve(ids.length);
      const all = wanted === "all" ? openAllLogits(gpu, readback, decoder, spec.vocabSize, ids.length) : undefined;
      const longest = Math.min(acts.maxTokens, all?.maxTokens ?? Infinity);
      const wait = ids.length > 1 || wanted !== "none";
      try {
        for (let done = 0; done < ids.length;) {
          throwIfAborted(stop);
          const chunk = Int32Array.from(ids.slice(done, done + Math.min(pace.chunkTokens, longest)));
          const began = performance.now();
          await runChunk(chunk, wait);
          if (wait && chunk.length > 1) pace.measured(chunk.length, performance.now() - began);
          if (all !== undefined) await all.take(recorder, chunk.length, done);
          done += chunk.length;
          appendOptions.onProgress?.(done);
        }
        if (all !== undefined) return all.logits;
      } finally {
        all?.destroy();
        if (all !== undefined) recorder.forget();
      }
      if (wanted === "none" || !stateIsLast) return undefined;
      lastLogits(decoder);
      recorder.submit();
      return new Float32Array(await readback.read(acts.logits, 0, spec.vocabSize * 4));
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
      recorder.submit();
      const token = new Uint32Array(await readback.read(chosen, 0, 4))[0] ?? 0;
      if (nothingSampled(token)) {
        throw new EngineError("bad-weights", "the model's logits are not numbers", "check the weights, or choose f32 weights");
      }
      return token;
    },

    async pool(request, stop) {
      gpu.check();
      throwIfAborted(stop);
      const chosenHeads = checkPoolRequest(request, { spec, length: cache.length, tap });
      return poolOnDevice({ spec, gpu, recorder, readback, op, cache, tap, plan }, request, chosenHeads, stop);
    },

    loseDevice() {
      gpu.destroy();
      return true;
    },
    dispose: () => gpu.destroy(),
  };
}

/** Collects the logits [n, V] of an append chunk by chunk. */
function openAllLogits(gpu: EngineDevice, readback: Readback, decoder: GpuDecoder, vocabSize: number, tokens: number) {
  const maxTokens = Math.max(1, Math.floor(ALL_LOGITS_BYTES / (4 * vocabSize)));
  const buffer = storageBuffer(gpu, "all logits", Math.min(tokens, maxTokens, decoder.acts.maxTokens) * vocabSize * 4);
  const logits = new Float32Array(tokens * vocabSize);
  return {
    maxTokens,
    logits,
    async take(recorder: Recorder, count: number, done: number): Promise<void> {
      allLogits(decoder, buffer, count);
      recorder.submit();
      logits.set(new Float32Array(await readback.read(buffer, 0, count * vocabSize * 4)), done * vocabSize);
    },
    destroy: () => buffer.destroy(),
  };
}
