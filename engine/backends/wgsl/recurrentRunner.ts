/** Recurrent models on WebGPU: the state and its copies stay on the device. */
import type { RecurrentSpec, RunnerOptions } from "../../api.ts";
import { EngineError, throwIfAborted } from "../../errors.ts";
import { allocated, openReadback, storageBuffer, usage } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import { openRecorder } from "../../gpu/dispatch.ts";
import { chooseVariants } from "../../gpu/selfTest.ts";
import type { ShaderCache } from "../../gpu/shader.ts";
import { nothingSampled } from "../../kernels/ops.ts";
import { checkRecurrentShapes } from "../../kernels/recurrentOps.ts";
import { checkWeights, tensorShapes } from "../../models/weights.ts";
import { withPaddedRanks, type GpuPass, type PassTools } from "./recurrentPass.ts";
import { openMambaPass } from "./recurrentMamba.ts";
import { openMamba2Pass } from "./recurrentMamba2.ts";
import { openRecurrentRunner, type RecurrentBackend, type RecurrentRunner } from "../../recurrent/runner.ts";
import { openRwkv7Pass } from "./recurrentRwkv7.ts";
import { slotCount } from "../../recurrent/slots.ts";
import { modelKey } from "../../recurrent/snapshot.ts";
import { stateFloats, statePartSizes } from "../../recurrent/state.ts";
import { openWeightLoader } from "./loadWeights.ts";
import { MAX_CHUNK_TOKENS } from "../../models/chunkSizes.ts";
import { openPace } from "./pace.ts";

/** Bound on the logits of one chunk when all are asked for. */
const ALL_LOGITS_BYTES = 32 * 2 ** 20;

/** Opens the model on an open device with its compiled kernels; `dispose` takes the device with it. */
export async function openGpuRecurrent(
  gpu: EngineDevice,
  shaders: ShaderCache,
  spec: RecurrentSpec,
  options: RunnerOptions & { maxBindingBytes?: number },
): Promise<RecurrentRunner> {
  const { weights, weightFormat, signal } = options;
  throwIfAborted(signal);
  checkWeights(spec, weights);
  checkRecurrentShapes(spec);
  const key = await modelKey(spec, weights, weightFormat, signal);
  const recorder = openRecorder(gpu);
  const maxBindingBytes = Math.min(options.maxBindingBytes ?? Infinity, gpu.maxBufferBytes);
  const loader = openWeightLoader(gpu, withPaddedRanks(spec, weights), tensorShapes(spec).keys(), {
    ...options,
    maxBindingBytes,
  });
  const { variants } = await chooseVariants(gpu, shaders, options.products ?? "exact");
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const tools = { gpu, shaders, recorder, loader, placeholder, variants, wantedTokens: MAX_CHUNK_TOKENS };
  const pass = await openPass(spec, tools);
  const copies = await stateCopies(gpu, spec);
  const backend = gpuBackend(gpu, spec, recorder, pass, copies);
  return openRecurrentRunner(spec, options, { ...backend, quantizationError: loader.quantizationError() }, key);
}

function openPass(spec: RecurrentSpec, tools: PassTools): Promise<GpuPass> {
  switch (spec.kind) {
    case "mamba":
      return openMambaPass(spec, tools);
    case "mamba2":
      return openMamba2Pass(spec, tools);
    case "rwkv7":
      return openRwkv7Pass(spec, tools);
  }
}

function gpuBackend(
  gpu: EngineDevice,
  spec: RecurrentSpec,
  recorder: ReturnType<typeof openRecorder>,
  pass: GpuPass,
  copies: readonly (readonly GPUBuffer[])[],
): Omit<RecurrentBackend, "quantizationError"> {
  const { device } = gpu;
  const V = spec.vocabSize;
  const readback = openReadback(gpu);
  const allowedBuffer = storageBuffer(gpu, "allowed tokens", Math.ceil(V / 32) * 4);
  const chosen = storageBuffer(gpu, "chosen token", 16);
  const pace = openPace(spec.layerCount, pass.maxTokens);
  const allLogitsTokens = Math.max(1, Math.min(pass.maxTokens, Math.floor(ALL_LOGITS_BYTES / (4 * V))));
  /** Made when all logits are first asked for, and kept. */
  let allLogits: GPUBuffer | undefined;
  /** Everything the state is made of, in the order of its copies. */
  const groups = [...pass.state, [pass.last]];
  const sizes = groupSizes(spec);

  /** Calls `copy` for every part with its place in a copy of the state. */
  function eachPart(slot: number, copy: (part: GPUBuffer, held: GPUBuffer, offset: number, bytes: number) => void): void {
    for (const [group, parts] of groups.entries()) {
      const held = copies[slot]?.[group];
      if (held === undefined) throw new RangeError(`copy ${slot} of ${copies.length}`);
      let offset = 0;
      for (const [index, bytes] of (sizes[group] ?? []).entries()) {
        const part = parts[index];
        if (part !== undefined && bytes > 0) copy(part, held, offset, bytes);
        offset += bytes;
      }
    }
  }

  function save(slot: number): void {
    recorder.submit();
    const encoder = device.createCommandEncoder();
    eachPart(slot, (part, held, offset, bytes) => encoder.copyBufferToBuffer(part, 0, held, offset, bytes));
    device.queue.submit([encoder.finish()]);
  }

  return {
    kind: "wgsl",
    device: gpu.description,
    lost: gpu.lost,
    check: () => gpu.check(),
    chunkTokens: (withLogits) => Math.min(pace.chunkTokens, withLogits ? allLogitsTokens : Infinity),

    async run(ids, { wait, allLogits: withLogits }) {
      const began = performance.now();
      const tokens = ids.length;
      // A decoded token waits for the one that is sampled behind it, but not longer.
      recorder.submit();
      device.queue.writeBuffer(pass.ids, 0, ids);
      pass.embed(tokens);
      for (let layer = 0; layer < spec.layerCount; layer++) {
        pass.runLayer(layer, tokens);
        if (wait && (layer + 1) % pace.layersPerSubmission === 0 && layer + 1 < spec.layerCount) await recorder.finish();
      }
      pass.lastState(tokens);
      if (!wait) return undefined;
      await recorder.finish();
      if (tokens > 1) pace.measured(tokens, performance.now() - began);
      if (!withLogits) return undefined;
      allLogits ??= storageBuffer(gpu, "all logits", allLogitsTokens * V * 4);
      pass.allLogits(allLogits, tokens);
      recorder.submit();
      return new Float32Array(await readback.read(allLogits, 0, tokens * V * 4));
    },

    async lastLogits() {
      pass.lastLogits();
      recorder.submit();
      return new Float32Array(await readback.read(pass.logits, 0, V * 4));
    },

    async sample({ temperature, topP }, allowed, uniform01) {
      if (allowed !== undefined) device.queue.writeBuffer(allowedBuffer, 0, allowed);
      pass.lastLogits();
      pass.op.sample(pass.logits, allowedBuffer, chosen, { temperature, topP, uniform01, useMask: allowed !== undefined });
      const token = new Uint32Array(await readback.readBehind(recorder, chosen, 4))[0] ?? 0;
      if (!nothingSampled(token)) return token;
      throw new EngineError("bad-weights", "the model's logits are not numbers", "check the weights, or choose f32 weights");
    },

    clear() {
      recorder.submit();
      const encoder = device.createCommandEncoder();
      for (const part of groups.flat()) encoder.clearBuffer(part);
      device.queue.submit([encoder.finish()]);
    },
    slotCount: copies.length,
    save,
    load(slot) {
      recorder.submit();
      const encoder = device.createCommandEncoder();
      eachPart(slot, (part, held, offset, bytes) => encoder.copyBufferToBuffer(held, offset, part, 0, bytes));
      device.queue.submit([encoder.finish()]);
    },

    async readSlot(slot) {
      recorder.submit();
      const values = new Float32Array(stateFloats(spec));
      let offset = 0;
      for (const [group, held] of (copies[slot] ?? []).entries()) {
        const bytes = (sizes[group] ?? []).reduce((sum, size) => sum + size, 0);
        values.set(new Float32Array(await readback.read(held, 0, bytes)), offset / 4);
        offset += bytes;
      }
      return values;
    },

    async read() {
      recorder.submit();
      const values = new Float32Array(stateFloats(spec));
      let offset = 0;
      for (const [group, parts] of groups.entries()) {
        for (const [index, bytes] of (sizes[group] ?? []).entries()) {
          const part = parts[index];
          if (part !== undefined && bytes > 0) values.set(new Float32Array(await readback.read(part, 0, bytes)), offset / 4);
          offset += bytes;
        }
      }
      return values;
    },
    write(values) {
      recorder.submit();
      let offset = 0;
      for (const [group, parts] of groups.entries()) {
        for (const [index, bytes] of (sizes[group] ?? []).entries()) {
          const part = parts[index];
          if (part !== undefined && bytes > 0) device.queue.writeBuffer(part, 0, values.buffer, offset, bytes);
          offset += bytes;
        }
      }
    },

    loseDevice() {
      gpu.destroy();
      return true;
    },
    dispose: () => gpu.destroy(),
  };
}

/** Bytes of the parts of the state as copies hold them: of each layer, and of the last token's final state. */
function groupSizes(spec: RecurrentSpec): readonly (readonly number[])[] {
  const layer = statePartSizes(spec).map((size) => size * 4);
  return [...Array.from({ length: spec.layerCount }, () => layer), [spec.hiddenSize * 4]];
}

/** Room for copies of the state, one buffer for each layer and one for the rest. Throws `limit-exceeded` when the device runs out. */
function stateCopies(gpu: EngineDevice, spec: RecurrentSpec): Promise<readonly (readonly GPUBuffer[])[]> {
  const sizes = groupSizes(spec).map((parts) => parts.reduce((sum, bytes) => sum + bytes, 0));
  const copy = (size: number): GPUBuffer =>
    gpu.device.createBuffer({ label: "copy of the state", size, usage: usage.copySource | usage.copyTarget });
  return allocated(
    gpu,
    () => Array.from({ length: slotCount(stateFloats(spec) * 4) }, () => sizes.map(copy)),
    () =>
      new EngineError(
        "limit-exceeded",
        "the device has no memory left for copies of the model's state",
        "choose a smaller model or the WASM backend",
      ),
  );
}
