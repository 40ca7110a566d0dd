/**
 * `npm run bench:engine`: products with weight matrices on the adapter at hand, ours and onnxruntime-web's WebGPU provider on the same
 * device in the same run. Ratios above one mean that ours are faster. On a software adapter the shapes are small and say nothing about
 * graphics cards. BENCH_RESULTS names another folder for the figures.
 */
import assert from "node:assert/strict";
import { it } from "node:test";
import type { TensorFormat } from "../../engine/api.ts";
import { plainError } from "../../engine/errors.ts";
import { chooseVariants } from "../../engine/gpu/selfTest.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import type { MatmulPrecision } from "../../engine/api.ts";
import { openBenchDevice, type BenchDevice } from "./benchDevice.ts";
import { openProductBench, type Measured, type ProductCase } from "./engineProducts.ts";
import { openOrtWebgpu, type OrtFormat, type OrtWebgpu } from "./ortWebgpu.ts";
import { measurePeaks } from "./peaks.ts";
import { keepResults } from "./results.ts";

interface Row {
  format: TensorFormat;
  rows: number;
  columns: number;
  tokens: number;
  precision: MatmulPrecision;
  /** Products that are run together, each with weights of its own. */
  copies: number;
  ours: Measured;
  onnxruntime?: Measured | { unavailable: string };
  /** Time of onnxruntime's over time of ours. */
  ratio?: number;
}

/** What onnxruntime has kernels for comes first; the others are formats of ours only. */
const compared: readonly OrtFormat[] = ["f32", "q8_0", "q4_0"];
const alone: readonly TensorFormat[] = ["bf16", "f16", "q4_k", "q6_k"];

/** Projections of a model of one billion parameters: hidden size 2048, feed-forward 8192; on a software adapter, of a toy. */
function plan(software: boolean): { shapes: readonly (readonly [rows: number, columns: number])[]; tokens: readonly number[] } {
  if (software) return { shapes: [[512, 512]], tokens: [1, 64] };
  return {
    shapes: [
      [2048, 2048],
      [16384, 2048],
      [2048, 8192],
    ],
    tokens: [1, 16, 512],
  };
}

it("products with weight matrices", { timeout: 3_600_000 }, async () => {
  const bench = await openBenchDevice();
  const { gpu } = bench;
  const peaks = await measurePeaks(gpu);
  print(`${gpu.description}, ${bench.how}; ${peaks.gflops.toFixed(1)} GFLOP/s of f32, copies ${peaks.copyGBs.toFixed(1)} GB/s`);
  const { reports } = await chooseVariants(gpu, openShaderCache(gpu), "fast");
  for (const { variant, used, because } of reports) print(`${variant}: ${used ? "used" : "not used"}, because ${because}`);
  const ort = await openOrt(bench);
  const openCase = openProductBench(gpu);
  const rows: Row[] = [];
  const failures: string[] = [];
  const { shapes, tokens: counts } = plan(gpu.abilities.software);
  for (const [rowCount, columns] of shapes) {
    for (const format of [...compared, ...alone]) {
      const product = await openCase(format, rowCount, columns);
      for (const tokens of counts) {
        // Without a variant that is faster than exact, fast products are the same.
        const faster = gpu.abilities.software || format === "f32" ? [] : (["fast"] as const);
        for (const precision of ["exact", ...faster] as const) {
          const row = { format, rows: rowCount, columns, tokens, precision, copies: product.copies };
          try {
            rows.push({ ...row, ...(await measure(product, format, tokens, precision)) });
            print(describeRow(rows.at(-1)));
          } catch (error) {
            // The others are measured all the same: a run on a borrowed machine should not end with nothing.
            failures.push(plainError(error).message);
            print(`failed: ${failures.at(-1) ?? ""}`);
          }
        }
      }
      product.release();
    }
  }
  keepResults("engine", "npm run bench:engine", {
    adapter: { ...bench.adapter, how: bench.how, software: gpu.abilities.software },
    peaks,
    variants: reports,
    onnxruntimeWeb: typeof ort === "string" ? { unavailable: ort } : { version: ort.version, provider: "webgpu" },
    note: gpu.abilities.software
      ? "a software adapter: small shapes, and kernels without barriers; the figures say nothing about graphics cards"
      : "weights of a case are larger than the caches; times of onnxruntime include its calls from JavaScript, one for all copies",
    products: rows,
    failures,
  });
  assert.deepEqual(failures, []);

  async function measure(
    product: ProductCase,
    format: TensorFormat,
    tokens: number,
    precision: MatmulPrecision,
  ): Promise<Pick<Row, "ours" | "onnxruntime" | "ratio">> {
    const ours = await product.ours(tokens, precision);
    const comparedAs = compared.find((name) => name === format);
    if (comparedAs === undefined) return { ours };
    if (typeof ort === "string") return { ours, onnxruntime: { unavailable: ort } };
    try {
      const theirs = await product.theirs(ort, comparedAs, tokens, precision);
      return { ours, onnxruntime: theirs, ratio: theirs.ms / ours.ms };
    } catch (error) {
      gpu.check();
      return { ours, onnxruntime: { unavailable: plainError(error).message } };
    }
  }
});

/** The provider, or why there is none here. */
async function openOrt({ gpu, entry }: BenchDevice): Promise<OrtWebgpu | string> {
  try {
    return await openOrtWebgpu(entry, gpu.device);
  } catch (error) {
    return `onnxruntime-web's WebGPU provider does not start: ${plainError(error).message}`;
  }
}

function describeRow(row: Row | undefined): string {
  if (row === undefined) return "";
  const { ours, onnxruntime: theirs, ratio } = row;
  const own = `${ours.ms.toFixed(3)} ms, ${ours.gflops.toFixed(1)} GFLOP/s, ${ours.gbPerSecond.toFixed(1)} GB/s`;
  const other =
    theirs === undefined
      ? ""
      : "ms" in theirs
        ? `; onnxruntime ${theirs.ms.toFixed(3)} ms, ratio ${ratio?.toFixed(2) ?? "none"}`
        : `; onnxruntime: ${theirs.unavailable}`;
  const { format, tokens, rows, columns, precision } = row;
  return `${format}, ${tokens} x [${rows}, ${columns}], ${precision}: ${own}${other}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
