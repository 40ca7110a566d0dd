/** Arrays to and from the device, and comparison with a bound on the largest difference. */
import assert from "node:assert/strict";
import { openReadback, uploadedBuffer } from "../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { alloc32, linear } from "../../engine/reference/ops.ts";
import { fill } from "./goldenModels.ts";

export async function download(gpu: EngineDevice, buffer: GPUBuffer, count: number): Promise<Float32Array> {
  const readback = openReadback(gpu);
  const values = new Float32Array(await readback.read(buffer, 0, count * 4));
  readback.destroy();
  return values;
}

export function upload(gpu: EngineDevice, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): GPUBuffer {
  return uploadedBuffer(gpu, "test", data);
}

/** Numbers in [-1, 1) that follow from the name. */
export function numbers(name: string, count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(fill(name, [count], 1));
}

export function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  let worst = 0;
  let at = 0;
  for (let i = 0; i < expected.length; i++) {
    const off = Math.abs(actual[i] - expected[i]);
    if (!(off <= worst)) {
      worst = off;
      at = i;
    }
  }
  assert(worst <= tolerance, `${what}: ${actual[at]} instead of ${expected[at]} at ${at}, off by ${worst}, allowed ${tolerance}`);
}

/**
 * x Wᵀ in f32, in any order of adding: every rounding is half a unit of a partial sum, which is at most the sum of magnitudes. Sums of a
 * few hundred products in eight or more partial sums stay within 16 such roundings; the one besides is for scale · code + offset, which
 * cancel where the weight is small.
 */
export function assertSums(actual: Float32Array, x: Float32Array, w: Float32Array, columns: number, what: string): void {
  const exact = linear(alloc32, x, w, undefined, columns);
  const magnitudes = linear(alloc32, x.map(Math.abs), w.map(Math.abs), undefined, columns);
  const largest = w.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  assert.equal(actual.length, exact.length, what);
  for (let i = 0; i < exact.length; i++) {
    const allowed = 16 * 2 ** -24 * (magnitudes[i] + largest);
    if (!(Math.abs(actual[i] - exact[i]) <= allowed)) {
      assert.fail(`${what}: ${actual[i]} instead of ${exact[i]} at ${i}, allowed ${allowed}`);
    }
  }
}
