/**
 * Chooses between kernels for the same product. What not every device has, or what is not exact, is tried on small matrices with known
 * answers first; a variant that is missing, wrong or not asked for is left out, and the reason is kept.
 */
import type { MatmulPrecision } from "../api.ts";
import { EngineError } from "../errors.ts";
import { encodeF16 } from "../formats/floats.ts";
import { quantizeRows } from "../formats/stored.ts";
import { openLinear, type Matrix } from "../kernels/linear.ts";
import { matrixFormatOf } from "../kernels/matrixFormats.ts";
import { openRowStaging } from "../kernels/packRows.ts";
import { plainVariants, type MatmulVariants } from "../kernels/variants.ts";
import { openReadback, storageBuffer, uploadedBuffer } from "./buffers.ts";
import type { EngineDevice } from "./device.ts";
import { openRecorder } from "./dispatch.ts";
import type { ShaderCache } from "./shader.ts";

export interface VariantReport {
  variant: "workgroup tiles" | "unpacking of binary16" | "subgroups" | "products of integers" | "products in binary16";
  used: boolean;
  because: string;
}

export interface ChosenVariants {
  variants: MatmulVariants;
  reports: readonly VariantReport[];
}

/** Kernels that compile fast, for trials in which only the matrix's format matters. */
const direct = { matmul: "direct", matvec: "none" } as const;

/** Largest relative RMS error of a fast variant on uniform numbers: rounding to 8 bits alone makes 0.4 %, to 11 bits 0.03 %. */
const INTEGER_TOLERANCE = 0.01;
const F16_TOLERANCE = 0.002;

/** Tries what the device offers. Throws `device-lost` only. */
export async function chooseVariants(
  gpu: EngineDevice,
  shaders: ShaderCache,
  precision: MatmulPrecision,
): Promise<ChosenVariants> {
  const { software, f16, subgroups, integerProducts } = gpu.abilities;
  const trial = openTrial(gpu, shaders);
  const reports: VariantReport[] = [];
  const decide = async (variant: VariantReport["variant"], obstacle: string | undefined, attempt: () => Promise<Verdict>) => {
    const verdict = obstacle === undefined ? await tried(attempt) : { passed: false, because: obstacle };
    reports.push({ variant, used: verdict.passed, because: verdict.because });
    return verdict.passed;
  };

  reports.push({
    variant: "workgroup tiles",
    used: !software,
    because: software
      ? "barriers of a software adapter cost more than tiles save"
      : "a weight is then unpacked once per 64 tokens",
  });
  const unpacks = await decide("unpacking of binary16", undefined, () => trial.halves());
  const halvesByIntegers = !unpacks;
  const slow = software ? "a software adapter gains nothing by it" : undefined;
  const inexact = precision === "exact" ? "it is not exact, and fast products were not asked for" : undefined;
  const addsInSubgroups = await decide("subgroups", slow ?? (subgroups ? undefined : "the device has no subgroups"), () =>
    trial.subgroups(),
  );
  const integers = await decide(
    "products of integers",
    slow ?? inexact ?? (integerProducts ? undefined : "WGSL has no integer dot products here"),
    trial.integers,
  );
  const halfProducts = await decide(
    "products in binary16",
    slow ?? inexact ?? (f16 ? undefined : "the device has no shader-f16"),
    trial.f16,
  );
  trial.close();
  return {
    variants: {
      matmul: software ? "direct" : halfProducts ? "tiled_f16" : "tiled",
      matvec: software ? "none" : addsInSubgroups ? "subgroups" : "shared",
      integers,
      halvesByIntegers,
    },
    reports,
  };
}

interface Verdict {
  passed: boolean;
  because: string;
}

/** A kernel that does not compile or run is a variant that failed, as long as the device is there. */
async function tried(attempt: () => Promise<Verdict>): Promise<Verdict> {
  try {
    return await attempt();
  } catch (error) {
    if (!EngineError.is(error) || error.code === "device-lost") throw error;
    return { passed: false, because: error.message };
  }
}

/** The trials by themselves, for tests and reports: each compiles its kernels and says whether the answers are right. */
export function openTrial(gpu: EngineDevice, shaders: ShaderCache) {
  const recorder = openRecorder(gpu);
  const readback = openReadback(gpu);
  const buffers: GPUBuffer[] = [];
  const room = (bytes: number): GPUBuffer => kept(storageBuffer(gpu, "self-test", bytes));
  const kept = (buffer: GPUBuffer): GPUBuffer => {
    buffers.push(buffer);
    return buffer;
  };

  /** A matrix of one slice. */
  const matrixOf = (format: "f32" | "f16" | "q8_0", bytes: Uint8Array, rows: number, columns: number): Matrix => {
    const device = matrixFormatOf[format];
    const panels = openRowStaging().open(device, rows, columns);
    panels.put(format, bytes, 0);
    const codes = kept(uploadedBuffer(gpu, "self-test", panels.codes));
    const scales = panels.scales.length === 0 ? undefined : kept(uploadedBuffer(gpu, "self-test", panels.scales));
    return { rows, columns, slices: [{ format: device, rowStart: 0, rows, codes, scales }], bias: undefined };
  };

  const product = async (matrix: Matrix, x: Float32Array<ArrayBuffer>, variants: Partial<MatmulVariants>) => {
    const tokens = x.length / matrix.columns;
    const setup = {
      gpu,
      shaders,
      recorder,
      placeholder: room(16),
      variants: { ...plainVariants, ...variants },
      maxTokens: tokens,
    };
    const op = await openLinear([{ matrix }], setup);
    const y = room(tokens * matrix.rows * 4);
    op.linear(kept(uploadedBuffer(gpu, "self-test", x)), matrix, y, tokens);
    recorder.submit();
    return new Float32Array(await readback.read(y, 0, tokens * matrix.rows * 4));
  };

  const measured = async (format: "f32" | "q8_0", variants: Partial<MatmulVariants>, tolerance: number): Promise<Verdict> => {
    const [rows, columns] = [70, 96];
    const w = uniform(rows * columns, 1);
    const { bytes, values } =
      format === "f32" ? { bytes: new Uint8Array(w.buffer), values: w } : quantizeRows(w, columns, format);
    const matrix = matrixOf(format, bytes, rows, columns);
    let worst = 0;
    for (const tokens of [1, 5, 66]) {
      const x = uniform(tokens * columns, 2);
      worst = Math.max(worst, relativeRms(await product(matrix, x, variants), products(x, values, columns)));
    }
    const words = `${(100 * worst).toPrecision(2)} % of error in the self-test, ${100 * tolerance} % allowed`;
    return { passed: worst <= tolerance, because: words };
  };

  return {
    /** Numbers that binary16 has and a flushing device loses, looked up as they are. */
    halves: async (variants: Partial<MatmulVariants> = {}): Promise<Verdict> => {
      const values = [2 ** -24, -1023 * 2 ** -24, 3 * 2 ** -20, 2 ** -14, 65504, -1, 0.333251953125, 0];
      const bytes = new Uint8Array(Uint16Array.from(values, encodeF16).buffer);
      const matrix = matrixOf("f16", bytes, 1, values.length);
      const own = { ...plainVariants, ...direct, ...variants };
      const setup = { gpu, shaders, recorder, placeholder: room(16), variants: own, maxTokens: 1 };
      const op = await openLinear([{ matrix, table: true }], setup);
      const x = room(values.length * 4);
      op.embed(kept(uploadedBuffer(gpu, "self-test", Uint32Array.of(0))), matrix, x, 1, 1);
      recorder.submit();
      const found = new Float32Array(await readback.read(x, 0, values.length * 4));
      const lost = values.findIndex((value, i) => found[i] !== value);
      if (lost === -1) return { passed: true, because: "the smallest numbers come back as they are" };
      return { passed: false, because: `${values[lost]} comes back as ${found[lost]}; integers unpack instead` };
    },

    /** Whole numbers, so that every order of adding gives the same. */
    subgroups: async (): Promise<Verdict> => {
      const [rows, columns] = [70, 160];
      const w = uniform(rows * columns, 3).map((value) => Math.round(8 * value));
      const x = uniform(columns, 4).map((value) => Math.round(8 * value));
      const matrix = matrixOf("f32", new Uint8Array(w.buffer), rows, columns);
      const found = await product(matrix, x, { matvec: "subgroups" });
      const expected = products(x, w, columns);
      const wrong = expected.findIndex((value, i) => found[i] !== value);
      if (wrong === -1) return { passed: true, because: "its sums are right in the self-test" };
      return { passed: false, because: `row ${wrong} of the self-test is ${found[wrong]} instead of ${expected[wrong]}` };
    },

    integers: () => measured("q8_0", { integers: true }, INTEGER_TOLERANCE),
    f16: () => measured("f32", { matmul: "tiled_f16" }, F16_TOLERANCE),

    close(): void {
      for (const buffer of buffers) buffer.destroy();
      readback.destroy();
      recorder.destroy();
    },
  };
}

/** Numbers in [-1, 1) that follow from the seed. */
function uniform(count: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** x [tokens, columns] times w [rows, columns] transposed. */
function products(x: Float32Array, w: Float32Array, columns: number): Float32Array {
  const rows = w.length / columns;
  return Float32Array.from({ length: (x.length / columns) * rows }, (_, cell) => {
    const [token, row] = [Math.floor(cell / rows), cell % rows];
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += x[token * columns + k] * w[row * columns + k];
    return sum;
  });
}

function relativeRms(found: Float32Array, expected: Float32Array): number {
  let errors = 0;
  let squares = 0;
  for (let i = 0; i < expected.length; i++) {
    errors += (found[i] - expected[i]) ** 2;
    squares += expected[i] ** 2;
  }
  return Math.sqrt(errors / squares);
}
