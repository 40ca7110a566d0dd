import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Mamba2Spec, MambaSpec, RecurrentSpec, Rwkv7Spec } from "../../../engine/api.ts";
import { storageBuffer } from "../../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../../engine/gpu/dispatch.ts";
import { openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import { SIGMOID, SQUARED_RELU, TANH } from "../../../engine/kernels/activate.ts";
import { openLinear } from "../../../engine/kernels/linear.ts";
import {
  checkRecurrentShapes,
  openMamba2Operations,
  openMambaOperations,
  openRwkv7Operations,
  padded4,
  ssdBlock,
  type WkvRows,
} from "../../../engine/kernels/recurrentOps.ts";
import { plainVariants } from "../../../engine/kernels/variants.ts";
import { convWidth } from "../../../engine/recurrent/weights.ts";
import { alloc32, alloc64, sigmoid } from "../../../engine/reference/ops.ts";
import {
  causalConv,
  columns,
  gatedRmsNorm,
  headNorm,
  normalizeHeads,
  selectiveScan,
  siluInPlace,
  softplus,
  ssdScan,
  tokenShift,
  wkvDecay,
  wkvScan,
} from "../../../engine/reference/recurrentOps.ts";
import { addBonus } from "../../../engine/reference/rwkv7.ts";
import { assertClose, download, numbers, upload } from "../../support/gpuArrays.ts";
import { randomRecurrent } from "../../support/recurrentModels.ts";
import { requireDevice } from "../../support/requireDevice.ts";

/** f32 against float64, over up to 130 steps whose errors decay with the state: about a hundred roundings of the largest number. */
const RELATIVE = 1e-5;

let gpu: EngineDevice;
let shaders: ShaderCache;
let recorder: Recorder;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
  recorder = openRecorder(gpu);
});
after(() => gpu.destroy());

/** What operations are opened with besides their shapes; these tests multiply by no matrix. */
async function tools() {
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const linear = await openLinear([], { gpu, shaders, recorder, placeholder, variants: plainVariants, maxTokens: 1 });
  return [linear, shaders, recorder, placeholder] as const;
}
const room = (floats: number): GPUBuffer => storageBuffer(gpu, "room", floats * 4);

function closeTo(actual: Float32Array, expected: Float64Array | Float32Array, what: string): void {
  let largest = 1;
  for (const value of expected) largest = Math.max(largest, Math.abs(value));
  assertClose(actual, expected, RELATIVE * largest, what);
}

async function result(buffer: GPUBuffer, floats: number): Promise<Float32Array> {
  await recorder.finish();
  return download(gpu, buffer, floats);
}

describe("Mamba's kernels", () => {
  // Channels, states, taps, rank; tokens in parts: one, blocks of the convolution that are full, not full, and shorter than its tail.
  const shapes: [channels: number, states: number, taps: number, rank: number, parts: number[]][] = [
    [140, 16, 4, 5, [1, 2, 70, 32]],
    [64, 5, 3, 8, [33, 1, 1]],
    [64, 128, 4, 4, [9]],
    [64, 4, 1, 3, [40]],
  ];
  for (const [I, N, K, R, parts] of shapes) {
    it(`${I} channels of ${N} states, ${K} taps: parts of ${parts.join(", ")} tokens`, async () => {
      const { spec } = randomRecurrent("mamba", { hidden_size: I, expand: 1, state_size: N, conv_kernel: K, time_step_rank: R });
      const mamba = spec as MambaSpec;
      const op = await openMambaOperations(mamba, ...(await tools()));
      const weight = numbers("conv", I * K);
      const bias = numbers("bias", I);
      const decayLog = numbers("decay", I * N);
      const skip = numbers("skip", I);
      const tail = new Float64Array((K - 1) * I);
      const state = new Float64Array(I * N);
      const gpuTail = room((K - 1) * I);
      const gpuState = room(I * N);
      const scanWeights = { decayLog: upload(gpu, decayLog), skip: upload(gpu, skip) };
      const conv = { weight: upload(gpu, weight), bias: upload(gpu, bias) };
      for (const [part, tokens] of parts.entries()) {
        const uz = numbers(`uz ${part}`, tokens * 2 * I).map((value) => 2 * value);
        const step = numbers(`step ${part}`, tokens * I).map((value) => 4 * value - 3);
        const selected = numbers(`selected ${part}`, tokens * (R + 2 * N));
        const u = causalConv(alloc64, columns(alloc64, uz, 2 * I, 0, I), weight, bias, tail, I);
        siluInPlace(u);
        const row = R + 2 * N;
        const b = columns(alloc64, selected, row, R, R + N);
        const c = columns(alloc64, selected, row, R + N, row);
        const scan = { u, step: Float64Array.from(step, softplus), b, c, decayLog, skip };
        const z = columns(alloc64, uz, 2 * I, I, 2 * I);
        siluInPlace(z);
        const y = selectiveScan(alloc64, scan, state).map((value, i) => value * z[i]);

        const convolved = room(tokens * I);
        const scanned = room(tokens * I);
        const low = room(tokens * padded4(R));
        const inputs = { uz: upload(gpu, uz), selected: upload(gpu, selected), step: upload(gpu, step), u: convolved };
        op.convolve(inputs.uz, conv, gpuTail, convolved, tokens);
        op.scan(inputs, scanWeights, gpuState, scanned, tokens);
        op.lowStep(inputs.selected, low, tokens);
        assertClose(await result(convolved, tokens * I), u, 1e-5, `convolution ${part}`);
        assertClose(await result(gpuTail, tail.length), tail, 0, `tail ${part}`);
        closeTo(await result(scanned, tokens * I), y, `scan ${part}`);
        closeTo(await result(gpuState, state.length), state, `state ${part}`);
        const wide = Array.from({ length: tokens * padded4(R) }, (_, i) => {
          const column = i % padded4(R);
          return column < R ? selected[Math.floor(i / padded4(R)) * row + column] : 0;
        });
        assertClose(await result(low, wide.length), wide, 0, `low-rank step ${part}`);
      }
    });
  }
});

describe("Mamba-2's kernels", () => {
  const shapes: [config: Record<string, unknown>, parts: number[]][] = [
    [{ hidden_size: 128, expand: 1, num_heads: 2, head_dim: 64, n_groups: 1, state_size: 128, chunk_size: 256 }, [1, 130, 3]],
    [{ hidden_size: 48, expand: 1, num_heads: 6, head_dim: 8, n_groups: 3, state_size: 4, chunk_size: 5 }, [2, 21, 1]],
    [
      { hidden_size: 80, expand: 1, num_heads: 1, head_dim: 80, n_groups: 1, state_size: 12, chunk_size: 32, conv_kernel: 2 },
      [40],
    ],
  ];
  for (const [config, parts] of shapes) {
    it(`${JSON.stringify(config)}: parts of ${parts.join(", ")} tokens`, async () => {
      const { spec } = randomRecurrent("mamba2", config);
      const mamba2 = spec as Mamba2Spec;
      const { headCount: H, headDim: P, groupCount: G, stateSize: N, convKernel: K, timeStepLimit } = mamba2;
      const I = H * P;
      const C = convWidth(mamba2);
      const width = I + C + H;
      const op = await openMamba2Operations(mamba2, ...(await tools()));
      const weight = numbers("conv", C * K);
      const [stepBias, decayLog, skip] = [numbers("step bias", H), numbers("decay", H), numbers("skip", H)];
      const normWeight = numbers("norm", I);
      const tail = new Float64Array((K - 1) * C);
      const state = new Float64Array(I * N);
      const gpuTail = room((K - 1) * C);
      const gpuState = room(I * N);
      const conv = { weight: upload(gpu, weight), bias: undefined };
      const weights = { timeStepBias: upload(gpu, stepBias), decayLog: upload(gpu, decayLog), skip: upload(gpu, skip) };
      for (const [part, tokens] of parts.entries()) {
        const rows = numbers(`rows ${part}`, tokens * width).map((value) => 2 * value);
        const mixed = causalConv(alloc64, columns(alloc64, rows, width, I, I + C), weight, undefined, tail, C);
        siluInPlace(mixed);
        const raw = columns(alloc64, rows, width, I + C, width);
        const [low, high] = timeStepLimit;
        const step = raw.map((value, i) => Math.min(high, Math.max(low, softplus(value + stepBias[i % H]))));
        const scan = {
          x: columns(alloc64, mixed, C, 0, I),
          step,
          b: columns(alloc64, mixed, C, I, I + G * N),
          c: columns(alloc64, mixed, C, I + G * N, C),
          decayLog,
          skip,
        };
        const y = ssdScan(alloc64, scan, mamba2, state);
        const z = columns(alloc64, rows, width, 0, I);
        const normed = gatedRmsNorm(alloc64, y, z, normWeight, I / mamba2.normGroupCount, mamba2.normEps);

        const block = ssdBlock(mamba2);
        const work = {
          steps: room(tokens * H * 2),
          scores: room(tokens * G * block),
          before: room(Math.ceil(tokens / block) * I * N),
        };
        const [gpuRows, gpuMixed, gpuY] = [upload(gpu, rows), room(tokens * C), room(tokens * I)];
        op.convolve(gpuRows, conv, gpuTail, gpuMixed, tokens);
        op.scan(gpuRows, gpuMixed, weights, gpuState, work, gpuY, tokens);
        assertClose(await result(gpuMixed, tokens * C), mixed, 1e-5, `convolution ${part}`);
        closeTo(await result(gpuY, tokens * I), y, `scan ${part}`);
        closeTo(await result(gpuState, state.length), state, `state ${part}`);
        op.gatedNorm(gpuY, gpuRows, upload(gpu, normWeight), tokens);
        closeTo(await result(gpuY, tokens * I), normed, `gated norm ${part}`);
      }
    });
  }

  it("a block that forgets everything stays finite", async () => {
    const { spec } = randomRecurrent("mamba2", { time_step_limit: [0, Infinity] });
    const mamba2 = spec as Mamba2Spec;
    const { headCount: H, headDim: P, groupCount: G, stateSize: N } = mamba2;
    const C = convWidth(mamba2);
    const width = H * P + C + H;
    const op = await openMamba2Operations(mamba2, ...(await tools()));
    const tokens = 16;
    const rows = numbers("rows", tokens * width).map((value, i) => (i % width < width - H ? value : 60 * value + 60));
    const mixed = numbers("mixed", tokens * C);
    const decayLog = Float32Array.from({ length: H }, () => 4);
    const zero = new Float32Array(H);
    const state = new Float64Array(H * P * N);
    const scan = {
      x: columns(alloc64, mixed, C, 0, H * P),
      step: columns(alloc64, rows, width, width - H, width).map(softplus),
      b: columns(alloc64, mixed, C, H * P, H * P + G * N),
      c: columns(alloc64, mixed, C, H * P + G * N, C),
      decayLog,
      skip: zero,
    };
    const expected = ssdScan(alloc64, scan, mamba2, state);
    const y = room(tokens * H * P);
    const work = { steps: room(tokens * H * 2), scores: room(tokens * G * 16), before: room(H * P * N) };
    const weights = { timeStepBias: upload(gpu, zero), decayLog: upload(gpu, decayLog), skip: upload(gpu, zero) };
    op.scan(upload(gpu, rows), upload(gpu, mixed), weights, room(H * P * N), work, y, tokens);
    // Steps of up to 120 make sums of the same size.
    assertClose(await result(y, expected.length), expected, 1e-2, "scan");
  });
});

describe("RWKV-7's kernels", () => {
  // Heads of 64, the ones of released models; tiny ones; and one wider than a workgroup.
  const shapes: [headDim: number, heads: number, parts: number[]][] = [
    [64, 2, [1, 66, 2]],
    [8, 3, [5, 1]],
    [96, 1, [9]],
    [128, 1, [5]],
  ];
  for (const [P, H, parts] of shapes) {
    it(`${H} heads of ${P}: parts of ${parts.join(", ")} tokens`, async () => {
      const E = H * P;
      const { spec } = randomRecurrent("rwkv7", { hidden_size: E, head_dim: P });
      const rwkv7 = spec as Rwkv7Spec;
      const op = await openRwkv7Operations(rwkv7, ...(await tools()));
      const [removalKey, keyRate] = [numbers("removal key", E), numbers("key rate", E)];
      const [normWeight, normBias, bonus] = [numbers("norm", E), numbers("norm bias", E), numbers("bonus", E)];
      const keys = { removalKey: upload(gpu, removalKey), keyRate: upload(gpu, keyRate) };
      const finish = upload(gpu, Float32Array.from([...normWeight, ...normBias, ...bonus]));
      const state = new Float64Array(H * P * P);
      const gpuState = room(state.length);
      for (const [part, tokens] of parts.entries()) {
        const input = (name: string, scale = 1): Float32Array<ArrayBuffer> =>
          numbers(`${name} ${part}`, tokens * E).map((value) => scale * value);
        const [receptance, rawDecay, rawKey, value] = [input("receptance"), input("decay", 4), input("key"), input("value")];
        const [rawRate, gate] = [input("rate", 2), input("gate")];
        const removal = Float64Array.from(rawKey, (each, i) => each * removalKey[i % E]);
        normalizeHeads(removal, P);
        const rate = Float64Array.from(rawRate, sigmoid);
        const key = Float64Array.from(rawKey, (each, i) => each * (1 + (rate[i] - 1) * keyRate[i % E]));
        const decay = Float64Array.from(rawDecay, wkvDecay);
        const y = wkvScan(alloc64, { receptance, decay, key, value, removal, rate }, H, P, state);
        const finished = headNorm(alloc64, y, normWeight, normBias, P, P * rwkv7.normEps);
        addBonus(finished, { receptance: Float64Array.from(receptance), key, value }, bonus, P);
        for (let i = 0; i < finished.length; i++) finished[i] = finished[i] * gate[i];

        const rows: WkvRows = {
          receptance: upload(gpu, receptance),
          decay: upload(gpu, rawDecay),
          key: upload(gpu, rawKey),
          value: upload(gpu, value),
          removal: room(tokens * E),
          rate: upload(gpu, rawRate),
        };
        const scanned = room(tokens * E);
        op.prepare(rows, keys, tokens);
        assertClose(await result(rows.removal, tokens * E), removal, 1e-5, `removal ${part}`);
        const removalRate = removal.map((each, i) => each * rate[i]);
        assertClose(await result(rows.rate, tokens * E), removalRate, 1e-5, `removal times rate ${part}`);
        assertClose(await result(rows.key, tokens * E), key, 1e-5, `key ${part}`);
        assertClose(await result(rows.decay, tokens * E), decay, 1e-5, `decay ${part}`);
        op.scan(rows, gpuState, scanned, tokens);
        closeTo(await result(scanned, tokens * E), y, `scan ${part}`);
        closeTo(await result(gpuState, state.length), state, `state ${part}`);
        op.finish(scanned, rows, upload(gpu, gate), finish, tokens);
        // The norm divides by the spread of a head's numbers, which can be small, and multiplies the errors by as much.
        assertClose(await result(scanned, tokens * E), finished, 1e-3, `finished ${part}`);
      }
    });
  }

  it("shift, keep, mix and activate", async () => {
    const { spec } = randomRecurrent("rwkv7", { hidden_size: 272, head_dim: 16 });
    const op = await openRwkv7Operations(spec as Rwkv7Spec, ...(await tools()));
    const [x, previous, share] = [numbers("x", 3 * 272), numbers("previous", 272), numbers("share", 272)];
    const shifted = room(x.length);
    const kept = room(272);
    op.tokenShift(upload(gpu, x), upload(gpu, previous), upload(gpu, share), shifted, 3);
    assertClose(await result(shifted, x.length), tokenShift(alloc32, x, previous, share), 1e-6, "shift");
    op.keepLast(upload(gpu, x), kept, 3);
    assertClose(await result(kept, 272), x.slice(2 * 272), 0, "last row");
    const [value, first, gate] = [numbers("value", 272), numbers("first", 272), numbers("gate", 272)];
    const mixed = upload(gpu, value);
    op.mixValues(mixed, upload(gpu, first), upload(gpu, gate), 1);
    assertClose(
      await result(mixed, 272),
      value.map((each, i) => each + (first[i] - each) * sigmoid(gate[i])),
      1e-6,
      "value mix",
    );
    const large = Float32Array.of(-1000, -3, -0.5, 0, 0.5, 3, 1000);
    for (const [kind, act] of [
      [TANH, Math.tanh],
      [SIGMOID, sigmoid],
      [SQUARED_RELU, (each: number) => Math.max(each, 0) ** 2],
    ] as const) {
      const buffer = upload(gpu, large);
      op.activate(buffer, large.length, kind);
      assertClose(await result(buffer, large.length), large.map(act), 1e-6, `activation ${kind}`);
    }
  });

  it("shapes that the kernels cannot do are named", () => {
    const refuse = (kind: RecurrentSpec["kind"], config: Record<string, unknown>, message: RegExp): void => {
      const { spec } = randomRecurrent(kind, config);
      assert.throws(() => checkRecurrentShapes(spec), { code: "unsupported-model", message });
    };
    refuse("rwkv7", { hidden_size: 36, head_dim: 6 }, /head dimension 6/);
    refuse("rwkv7", { hidden_size: 256, head_dim: 256 }, /head dimension 256/);
    refuse("mamba", { state_size: 200 }, /state size 200/);
    refuse("mamba2", { state_size: 6 }, /state size 6/);
    refuse("mamba", { hidden_size: 30 }, /hidden size 30/);
  });
});
