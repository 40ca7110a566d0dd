import { it } from "node:test";
import { requireDevice } from "../support/requireDevice.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { openRecorder } from "../../engine/gpu/dispatch.ts";
import { storageBuffer } from "../../engine/gpu/buffers.ts";
import { openOperations } from "../../engine/kernels/ops.ts";
import { randomModel } from "../support/goldenModels.ts";
it("prof", async () => {
  const gpu = await requireDevice();
  const { spec } = randomModel({ vocabSize: 64, hiddenSize: 256, intermediateSize: 704, layerCount: 1, headCount: 4, kvHeadCount: 1, headDim: 64, rotaryDim: 64 });
  const rec = openRecorder(gpu);
  const b = (n: number, l = "x") => storageBuffer(gpu, l, n * 4);
  const op = await openOperations(spec, "f32", openShaderCache(gpu), rec, { placeholder: b(4), parts: b(1 << 16) });
  const x = b(512 * 256), w = b(256), y = b(512 * 256), qkv = b(512 * 384), out = b(512 * 256), gu = b(512 * 1408), act = b(512 * 704), ang = b(512 * 64);
  const M = (rows: number, columns: number) => ({ rows, columns, bias: undefined, slices: [{ rowStart: 0, rows, paddedRows: rows, weight: b(rows * columns), scales: undefined }] });
  const W = { qkv: M(384, 256), o: M(256, 256), gu: M(1408, 256), d: M(256, 704), head: M(4096, 256) };
  const layer = { pages: b(1024), keys: b(1024 * 64), values: b(1024 * 64) };
  gpu.device.queue.writeBuffer(layer.pages, 0, Uint32Array.from({ length: 64 }, (_, i) => i));
  const lse = b(2048 * 4), parts = { out: b(64 * 256), lse: b(64 * 4) }, tails = b(64 * 64);
  await rec.finish();
  const time = async (name: string, f: () => void) => {
    f(); await rec.finish();
    const runs: number[] = []; const t0 = performance.now();
    do { const t = performance.now(); for (let i = 0; i < 4; i++) f(); await rec.finish(); runs.push((performance.now() - t) / 4); } while (runs.length < 5 || (performance.now() - t0 < 400 && runs.length < 60));
    runs.sort((a, b) => a - b);
    console.log(name.padEnd(12), "min", runs[0]!.toFixed(2), "med", runs[runs.length >> 1]!.toFixed(2), runs.length);
  };
  await time("empty", () => op.siluMul(gu, act, 1));
  for (const T of [1, 16, 64]) {
    const span = { start: 960 - T, tokens: T };
    await time(`norm ${T}`, () => op.rmsNorm(x, w, y, T));
    for (const k of ["qkv", "o", "gu", "d"] as const) await time(`${k} ${T}`, () => op.linear(act, W[k], gu, T));
    await time(`keyshift ${T}`, () => op.keyShift(qkv, w, tails, span));
    await time(`qknorm ${T}`, () => op.qkNorm(qkv, w, w, T));
    await time(`rope ${T}`, () => op.rope(qkv, ang, T));
    await time(`kv ${T}`, () => op.kvWrite(qkv, layer, undefined, span));
    if (T > 1) await time(`attn ${T}`, () => op.attendPrefill(qkv, layer, out, lse, span));
    else await time(`decode ${T}`, () => op.attendDecode(qkv, layer, parts, out, lse, 960));
    await time(`silu ${T}`, () => op.siluMul(gu, act, T));
  }
});
