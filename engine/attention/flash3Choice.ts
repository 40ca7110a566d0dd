/**
 * Which ingredients of flash3 a device gets. Matrix units (subgroup matrices, the tensor cores of FlashAttention-3) and products of integers are
 * there only where a device says so, and are tried on numbers with known answers first; the units go before the integers.
 */
import type { DecoderSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import { openReadback, storageBuffer, uploadedBuffer } from "../gpu/buffers.ts";
import type { EngineDevice } from "../gpu/device.ts";
import { openRecorder } from "../gpu/dispatch.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { unitFor } from "../kernels/attn_flash3.ts";
import { openFlash3Kernels, type Flash3Ingredients } from "../kernels/flash3Ops.ts";
import { rowWords } from "../kv-cache/format.ts";
import { attention } from "../reference/attend.ts";
import { alloc32 } from "../reference/ops.ts";
import { PAGE_TOKENS } from "./api.ts";
import { addPageLists, addSlots, Words, type BlockMap } from "./pageLists.ts";

export interface Flash3Choice {
  ingredients: Flash3Ingredients;
  /** Why matrix units are used or not, and why products of integers. */
  matricesBecause: string;
  integersBecause: string;
}

type Products = Pick<Flash3Ingredients, "matrices"> | Pick<Flash3Ingredients, "integers">;

interface Verdict {
  passed: boolean;
  because: string;
}

/** Largest relative RMS error of the trial: its numbers are whole, so that rounding to 8 bits loses nothing, and what is left is f32's. */
const TOLERANCE = 1e-4;

/** For heads of so many channels. Throws `device-lost` only. */
export async function chooseFlash3(gpu: EngineDevice, shaders: ShaderCache, headDim: number): Promise<Flash3Choice> {
  const { software, integerProducts, matrixUnits } = gpu.abilities;
  const unit = unitFor(headDim, matrixUnits, gpu.device.limits.maxComputeWorkgroupStorageSize);
  const lacking = software ? "a software adapter gains nothing by them" : undefined;
  const noUnit =
    matrixUnits.length === 0 ? "this device offers none" : `none of this device's takes heads of ${headDim} channels`;
  const matrices = await judge(gpu, shaders, { matrices: unit }, lacking ?? (unit === undefined ? noUnit : undefined));
  const noIntegers = integerProducts ? undefined : "WGSL has no integer dot products here";
  const unneeded = matrices.passed ? "matrix units go before them" : undefined;
  const integers = await judge(gpu, shaders, { integers: true }, lacking ?? unneeded ?? noIntegers);
  return {
    ingredients: {
      ...{ pipelined: true, eightBits: true, hadamard: true, integers: integers.passed },
      matrices: matrices.passed ? unit : undefined,
    },
    matricesBecause: matrices.because,
    integersBecause: integers.because,
  };
}

async function judge(
  gpu: EngineDevice,
  shaders: ShaderCache,
  products: Products,
  obstacle: string | undefined,
): Promise<Verdict> {
  if (obstacle !== undefined) return { passed: false, because: obstacle };
  try {
    const error = await tryProducts(gpu, shaders, products);
    const passed = error <= TOLERANCE;
    return { passed, because: `${error.toExponential(1)} of relative error in the self-test, ${TOLERANCE} allowed` };
  } catch (error) {
    // A kernel that does not compile or run is an ingredient that failed, as long as the device is there.
    if (!EngineError.is(error) || error.code === "device-lost") throw error;
    return { passed: false, because: error.message };
  }
}

/** Relative RMS error of attention by such products, on whole numbers up to 127: also where a device was not asked to try. */
export async function tryProducts(gpu: EngineDevice, shaders: ShaderCache, products: Products): Promise<number> {
  const spec = { headCount: 2, kvHeadCount: 1, headDim: 64, attentionScale: 2e-5, attentionSoftcap: undefined } as const;
  const tokens = 70;
  const row = 4 * spec.headDim;
  const qkv = wholeNumbers(tokens * row);
  const recorder = openRecorder(gpu);
  const readback = openReadback(gpu);
  const buffers: GPUBuffer[] = [];
  const kept = (buffer: GPUBuffer): GPUBuffer => {
    buffers.push(buffer);
    return buffer;
  };
  const room = (bytes: number): GPUBuffer => kept(storageBuffer(gpu, "self-test", bytes));
  const ingredients = { pipelined: true, eightBits: true, hadamard: false, integers: false, ...products };
  const slopes = room(16);
  const op = await openFlash3Kernels(undefined, spec, { gpu, shaders, recorder, slopes, maxTokens: tokens, ingredients });

  const map: BlockMap = { slabs: 1, block: (index) => ({ slab: 0, place: index }) };
  const words = new Words();
  const slotsAt = addSlots(words, map, 0, tokens).get(0) ?? 0;
  const band = {
    keys: (position: number) => [0, position + 1] as const,
    queryPosition: (position: number): number => position,
    copy: 0,
  };
  const [seen] = addPageLists(words, map, { band, start: 0, tokens, pattern: undefined, heads: 2, kvHeads: 1 });
  const lists = kept(uploadedBuffer(gpu, "self-test", words.view()));
  const tileBytes = PAGE_TOKENS * rowWords("tile8", spec.headDim) * 4;
  const slab = { keys: room(tileBytes), values: room(tileBytes) };
  const rows = { rows: kept(uploadedBuffer(gpu, "self-test", qkv)), isProjection: true };
  const open = room(16);
  const span = { start: 0, tokens };
  const into = { out: room(tokens * 2 * spec.headDim * 4), lse: room(tokens * 8), before: room(tokens * 8), carry: false };
  try {
    op.putKeyTiles(rows, slab.keys, open, { words: lists, slotsAt }, span);
    op.putValueTiles(rows.rows, slab.values, open, { words: lists, slotsAt }, span);
    op.attendPrefill(rows, slab, { words: lists, offsets: seen.list }, into, span);
    recorder.submit();
    const found = new Float32Array(await readback.read(into.out, 0, tokens * 2 * spec.headDim * 4));
    return relativeRms(found, expectedOf(qkv, spec, tokens, band));
  } finally {
    for (const buffer of buffers) buffer.destroy();
    op.release();
    readback.destroy();
    recorder.destroy();
  }
}

type TrialSpec = Pick<DecoderSpec, "headCount" | "kvHeadCount" | "headDim" | "attentionScale" | "attentionSoftcap">;

function expectedOf(
  qkv: Float32Array,
  spec: TrialSpec,
  tokens: number,
  band: Parameters<typeof addPageLists>[2]["band"],
): Float32Array {
  const row = (spec.headCount + 2 * spec.kvHeadCount) * spec.headDim;
  const part = (heads: number, offset: number): Float32Array => {
    const width = heads * spec.headDim;
    const cell = (i: number): number => Math.floor(i / width) * row + offset * spec.headDim + (i % width);
    return Float32Array.from({ length: tokens * width }, (_, i) => qkv[cell(i)]);
  };
  const layer = { queries: [part(2, 0)], keys: [part(1, 2)], bands: [band] };
  return Float32Array.from(attention(alloc32, layer, part(1, 3), { ...spec, alibi: undefined }, 0));
}

/** Whole numbers in [-127, 127] that follow from nothing, each head of a row with one of 127, so that scales of tiles are one. */
function wholeNumbers(count: number): Float32Array<ArrayBuffer> {
  let state = 1;
  return Float32Array.from({ length: count }, (_, index) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return index % 64 === 0 ? 127 : Math.round(254 * (state / 2 ** 32) - 127);
  });
}

function relativeRms(found: Float32Array, expected: Float32Array): number {
  let [errors, squares] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    errors += (found[i] - expected[i]) ** 2;
    squares += expected[i] ** 2;
  }
  return Math.sqrt(errors / squares);
}
