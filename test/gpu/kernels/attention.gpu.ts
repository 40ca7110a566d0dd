import { after, before, describe, it } from "node:test";
import type { DecoderSpec } from "../../../engine/api.ts";
import { F32_CACHE } from "../../../engine/attention/wholeOnly.ts";
import { storageBuffer, uploadedBuffer } from "../../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../../engine/gpu/device.ts";
import { openRecorder, type Recorder } from "../../../engine/gpu/dispatch.ts";
import { openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import { openLinear } from "../../../engine/kernels/linear.ts";
import { openOperations, type Operations } from "../../../engine/kernels/ops.ts";
import { plainVariants } from "../../../engine/kernels/variants.ts";
import { alibiSlopes } from "../../../engine/position/alibi.ts";
import { positionsFrom, rotateHeads, rotation } from "../../../engine/position/rope.ts";
import { ropeBase, ropeTable } from "../../../engine/position/scaling.ts";
import {
  alloc32,
  clampInPlace,
  gateMultiply,
  keyShift,
  layerNorm,
  rmsNorm,
  softcapInPlace,
} from "../../../engine/reference/ops.ts";
import { assertClose, download, numbers, upload } from "../../support/gpuArrays.ts";
import { randomModel } from "../../support/goldenModels.ts";
import { requireDevice } from "../../support/requireDevice.ts";

/** f32 sums of up to a few hundred products of numbers near one, in another order than the reference's. */
const TOLERANCE = 2e-5;

let gpu: EngineDevice;
let shaders: ShaderCache;
let recorder: Recorder;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
  recorder = openRecorder(gpu);
});
after(() => gpu.destroy());

async function operations(overrides: Partial<DecoderSpec>): Promise<{ op: Operations; spec: DecoderSpec }> {
  const { spec } = randomModel(overrides);
  const slopes = Float32Array.from(
    spec.alibi === undefined ? new Float32Array(spec.headCount) : alibiSlopes(spec.headCount, spec.alibi.maxBias),
  );
  const scratch = {
    placeholder: storageBuffer(gpu, "placeholder", 16),
    slopes: uploadedBuffer(gpu, "slopes", slopes),
    formats: F32_CACHE,
  };
  const { placeholder } = scratch;
  const linear = await openLinear([], { gpu, shaders, recorder, placeholder, variants: plainVariants, maxTokens: 1 });
  return { spec, op: await openOperations(spec, linear, shaders, recorder, scratch) };
}

const room = (floats: number): GPUBuffer => storageBuffer(gpu, "room", floats * 4);

async function result(buffer: GPUBuffer, floats: number): Promise<Float32Array> {
  await recorder.finish();
  return download(gpu, buffer, floats);
}

describe("elementwise kernels", () => {
  it("rms_norm: rows from an offset, a width that is no multiple of the workgroup's, and added to what is there", async () => {
    const { op, spec } = await operations({ hiddenSize: 140 });
    const x = numbers("x", 5 * 140);
    const weight = numbers("weight", 140);
    const y = room(3 * 140);
    const norm = { weight: upload(gpu, weight), bias: undefined };
    op.norm(upload(gpu, x), norm, y, 3, 2);
    const expected = rmsNorm(alloc32, x.slice(2 * 140), weight, spec.normEps);
    assertClose(await result(y, 3 * 140), expected, 1e-5, "normed rows, as f32 allows");
    op.addNormed(upload(gpu, x.slice(2 * 140)), norm, y, 3);
    const twice = expected.map((value) => 2 * value);
    assertClose(await result(y, 3 * 140), twice, 2e-5, "added");
  });

  for (const normBias of [true, false]) {
    it(`layer_norm ${normBias ? "with" : "without"} a bias, on rows far from zero`, async () => {
      const { op, spec } = await operations({ hiddenSize: 140, norm: "layer", normBias });
      const x = numbers("x", 5 * 140).map((value) => value + 30);
      const weight = numbers("weight", 140);
      const bias = normBias ? numbers("bias", 140) : undefined;
      const y = room(3 * 140);
      op.norm(upload(gpu, x), { weight: upload(gpu, weight), bias: bias && upload(gpu, bias) }, y, 3, 2);
      const expected = layerNorm(alloc32, x.slice(2 * 140), weight, bias, spec.normEps);
      // A mean of 30 costs five bits of the differences.
      assertClose(await result(y, 3 * 140), expected, 1e-4, "normed rows");
    });
  }

  for (const activation of ["silu", "gelu", "gelu_tanh"] as const) {
    for (const mlp of ["gated", "plain"] as const) {
      it(`gate_mul: ${activation}, ${mlp}`, async () => {
        const { op } = await operations({ intermediateSize: 52, activation, mlp });
        const width = mlp === "gated" ? 104 : 52;
        const gateUp = numbers("gateUp", 3 * width).map((value) => 8 * value);
        const y = room(3 * 52);
        op.gateMul(upload(gpu, gateUp), y, 3);
        const rows = (offset: number) =>
          Float32Array.from({ length: 156 }, (_, i) => gateUp[Math.floor(i / 52) * width + offset + (i % 52)]);
        const gate = mlp === "gated" ? rows(0) : undefined;
        const expected = gateMultiply(alloc32, activation, gate, rows(mlp === "gated" ? 52 : 0));
        // exp and tanh of a GPU are good to a few units in the last place of values up to 64.
        assertClose(await result(y, 156), expected, 1e-4, "products");
      });
    }
  }

  it("bound: clamps and softcaps exactly the numbers it is told to, more than one pass of them", async () => {
    const { op } = await operations({ qkvClip: 0.5, finalSoftcap: 0.7 });
    const count = 40_000;
    const x = numbers("x", count + 4);
    const clamped = x.slice();
    clampInPlace(clamped.subarray(0, count), 0.5);
    const capped = clamped.slice();
    softcapInPlace(capped.subarray(0, count), 0.7);
    const buffer = upload(gpu, x);
    op.clampProjection(buffer, count);
    assertClose(await result(buffer, count + 4), clamped, 0, "clamped");
    op.softcapLogits(buffer, count);
    assertClose(await result(buffer, count + 4), capped, 1e-6, "softcapped");
  });

  it("qk_norm and rope_apply: queries and keys at positions and scales of their own; partial rotary only scales the rest", async () => {
    const { op, spec } = await operations({ headDim: 24, rotaryDim: 16, headCount: 6, kvHeadCount: 3, qkNorm: true });
    const tokens = 5;
    const qkv = numbers("qkv", tokens * 12 * 24);
    const queryNorm = numbers("qn", 24);
    const keyNorm = numbers("kn", 24);
    const table = ropeTable({ kind: "none" }, ropeBase(spec), 64);
    const queryTurn = rotation(table, positionsFrom(11, tokens));
    const keyTurn = rotation(table, positionsFrom(3, tokens));
    const scale = (token: number): number => 1 + token / 4;
    const angles: number[] = [];
    for (let token = 0; token < tokens; token++) {
      for (const [turn, last] of [
        [queryTurn, scale(token)],
        [keyTurn, 1],
      ] as const) {
        for (let pair = 0; pair < 8; pair++) angles.push(turn.cos[token * 8 + pair], turn.sin[token * 8 + pair]);
        angles.push(last, 0);
      }
    }
    const buffer = upload(gpu, qkv);
    const rotated = room(tokens * 9 * 24);
    op.qkNorm(buffer, upload(gpu, queryNorm), upload(gpu, keyNorm), tokens);
    op.rope(buffer, upload(gpu, Float32Array.from(angles)), rotated, 8, tokens);
    const expected = new Float32Array(tokens * 216);
    const untouched = qkv.slice();
    for (let token = 0; token < tokens; token++) {
      const row = untouched.subarray(token * 288, (token + 1) * 288);
      row.set(rmsNorm(alloc32, row.slice(0, 144), queryNorm, spec.normEps));
      row.set(rmsNorm(alloc32, row.slice(144, 216), keyNorm, spec.normEps), 144);
      const part = (turn: typeof queryTurn) => ({
        cos: turn.cos.slice(token * 8, token * 8 + 8),
        sin: turn.sin.slice(token * 8, token * 8 + 8),
        pairs: 8,
      });
      const queries = row.slice(0, 144).map((value) => value * scale(token));
      const keys = row.slice(144, 216);
      rotateHeads(queries, 6, 24, part(queryTurn));
      rotateHeads(keys, 3, 24, part(keyTurn));
      expected.set(queries, token * 216);
      expected.set(keys, token * 216 + 144);
    }
    assertClose(await result(rotated, expected.length), expected, TOLERANCE, "rotated");
    assertClose(await result(buffer, qkv.length), untouched, TOLERANCE, "the projection stays as it was normed");
  });

  it("key_shift: chunks that end in the middle, at and behind page borders go on where the last one stopped", async () => {
    const { op } = await operations({ headDim: 8, headCount: 4, kvHeadCount: 2, keyShift: true });
    const total = 41;
    const qkv = numbers("qkv", total * 64);
    const gate = numbers("gate", 16);
    const tails = room(4 * 16);
    const raw = Float32Array.from({ length: total * 16 }, (_, i) => qkv[Math.floor(i / 16) * 64 + 32 + (i % 16)]);
    const expected = keyShift(alloc32, raw, new Float32Array(16), gate);
    const gateBuffer = upload(gpu, gate);
    let start = 0;
    for (const tokens of [1, 4, 11, 17, 8]) {
      const buffer = upload(gpu, qkv.slice(start * 64, (start + tokens) * 64));
      op.keyShift(buffer, gateBuffer, tails, { start, tokens });
      const chunk = await result(buffer, tokens * 64);
      const keys = Float32Array.from({ length: tokens * 16 }, (_, i) => chunk[Math.floor(i / 16) * 64 + 32 + (i % 16)]);
      assertClose(keys, expected.slice(start * 16, (start + tokens) * 16), 1e-6, `keys from ${start}, one mix per value`);
      start += tokens;
    }
  });
});
