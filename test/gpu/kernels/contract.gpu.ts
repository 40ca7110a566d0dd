import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { EngineDevice } from "../../../engine/gpu/device.ts";
import { openShaderCache, type Kernel } from "../../../engine/gpu/shader.ts";
import { activate } from "../../../engine/kernels/activate.ts";
import { attnDecode } from "../../../engine/kernels/attn_decode.ts";
import { attnFacts } from "../../../engine/kernels/attn_facts.ts";
import { attnFlash3 } from "../../../engine/kernels/attn_flash3.ts";
import { attnMass } from "../../../engine/kernels/attn_mass.ts";
import { attnMerge } from "../../../engine/kernels/attn_merge.ts";
import { attnPool } from "../../../engine/kernels/attn_pool.ts";
import { attnPrefill } from "../../../engine/kernels/attn_prefill.ts";
import { attnScores } from "../../../engine/kernels/attn_scores.ts";
import { attnSteps } from "../../../engine/kernels/attn_steps.ts";
import { attnSums } from "../../../engine/kernels/attn_sums.ts";
import { blockMeansKernel } from "../../../engine/kernels/block_means.ts";
import { blockScoresKernel } from "../../../engine/kernels/block_scores.ts";
import { bound } from "../../../engine/kernels/bound.ts";
import { causalConv } from "../../../engine/kernels/causal_conv.ts";
import { denseScores } from "../../../engine/kernels/dense_scores.ts";
import { denseSoftmax } from "../../../engine/kernels/dense_softmax.ts";
import { denseValues } from "../../../engine/kernels/dense_values.ts";
import { embed } from "../../../engine/kernels/embed.ts";
import { gateMul } from "../../../engine/kernels/gate_mul.ts";
import { gatedNorm } from "../../../engine/kernels/gated_norm.ts";
import { hadamard } from "../../../engine/kernels/hadamard.ts";
import { keepRow } from "../../../engine/kernels/keep_row.ts";
import { keyMix } from "../../../engine/kernels/key_mix.ts";
import { keyReposition } from "../../../engine/kernels/key_reposition.ts";
import { keyShift } from "../../../engine/kernels/key_shift.ts";
import { kvError } from "../../../engine/kernels/kv_error.ts";
import { kvPut } from "../../../engine/kernels/kv_put.ts";
import { layerNorm } from "../../../engine/kernels/layer_norm.ts";
import { matmul, matmulIntegers } from "../../../engine/kernels/matmul.ts";
import { matrixLayouts, type MatrixFormat } from "../../../engine/kernels/matrixFormats.ts";
import { matvec, matvecIntegers, matvecSums } from "../../../engine/kernels/matvec.ts";
import { pageBounds } from "../../../engine/kernels/page_bounds.ts";
import { pageScore } from "../../../engine/kernels/page_score.ts";
import { pageSelect } from "../../../engine/kernels/page_select.ts";
import { qkNorm } from "../../../engine/kernels/qk_norm.ts";
import { quantizeRows } from "../../../engine/kernels/quantize_rows.ts";
import { rmsNorm } from "../../../engine/kernels/rms_norm.ts";
import { ropeApply } from "../../../engine/kernels/rope_apply.ts";
import { sample } from "../../../engine/kernels/sample.ts";
import { selectiveScan } from "../../../engine/kernels/selective_scan.ts";
import { ssdOutput } from "../../../engine/kernels/ssd_output.ts";
import { ssdScores } from "../../../engine/kernels/ssd_scores.ts";
import { ssdState } from "../../../engine/kernels/ssd_state.ts";
import { ssdStep } from "../../../engine/kernels/ssd_step.ts";
import { ssdSteps } from "../../../engine/kernels/ssd_steps.ts";
import { takeColumns } from "../../../engine/kernels/take_columns.ts";
import { tapSave } from "../../../engine/kernels/tap_save.ts";
import { tile8Open } from "../../../engine/kernels/tile8_open.ts";
import { tile8Put } from "../../../engine/kernels/tile8_put.ts";
import { tokenShift } from "../../../engine/kernels/token_shift.ts";
import { valueMix } from "../../../engine/kernels/value_mix.ts";
import { wkvFinish } from "../../../engine/kernels/wkv_finish.ts";
import { wkvPrepare } from "../../../engine/kernels/wkv_prepare.ts";
import { wkvScan } from "../../../engine/kernels/wkv_scan.ts";
import { requireDevice } from "../../support/requireDevice.ts";

const matrixFormats = Object.keys(matrixLayouts) as MatrixFormat[];
/** Of kernels that are put together of several files: every file in one of them at least. */
const composed: readonly Kernel[] = [
  ...matrixFormats.flatMap((format) => [embed(format), matmul(format, "tiled", true), matvec(format, "shared", true)]),
  matmul("f32", "direct", false),
  matvec("f32", "none", false),
  matmulIntegers("q8_0"),
  matvecIntegers("q8_0", "shared"),
];
/** Those that use a feature that not every device has. */
const matrixUnit = { rows: 8, columns: 8, depth: 8, subgroup: 32 } as const;
const optional: readonly Kernel[] = [
  matvec("f32", "subgroups", true),
  matmul("f32", "tiled_f16", true),
  attnFlash3({ format: "tile8", products: { ...matrixUnit, element: "f16" } }),
  attnFlash3({ format: "tile8", products: { ...matrixUnit, element: "f32" } }),
];

const cacheFormats = ["f32", "f16", "q8", "q4"] as const;
const kernels: readonly Kernel[] = [
  activate,
  ...cacheFormats.flatMap((format) => [
    attnDecode({ keys: format, values: format }),
    attnPrefill({ keys: format, values: format }),
    attnPool(format),
    attnFacts(format),
    attnScores(format),
    blockScoresKernel(format),
    kvPut(format),
    pageBounds(format),
    denseScores(format),
    denseValues(format),
    kvError({ keys: format, values: format }),
  ]),
  attnDecode({ keys: "tile8", values: "tile8" }),
  attnFlash3({ format: "f32", products: "floats" }),
  attnFlash3({ format: "tile8", products: "floats" }),
  attnFlash3({ format: "tile8", products: "integers" }),
  attnFlash3({ format: "tile8", products: "loops" }),
  attnMass,
  attnMerge,
  attnSteps,
  attnSums,
  blockMeansKernel,
  bound,
  causalConv,
  gateMul,
  gatedNorm,
  hadamard,
  keepRow,
  keyMix,
  keyReposition,
  keyShift,
  layerNorm,
  denseSoftmax,
  pageScore,
  pageSelect,
  qkNorm,
  quantizeRows,
  rmsNorm,
  ropeApply,
  sample,
  selectiveScan,
  ssdOutput,
  ssdScores,
  ssdState,
  ssdStep,
  ssdSteps,
  takeColumns,
  tapSave,
  tile8Open,
  tile8Put,
  tokenShift,
  valueMix,
  wkvFinish,
  wkvPrepare,
  wkvScan,
  ...composed,
];

/** What the smallest WebGPU device offers. */
const MAX_STORAGE_BUFFERS = 8;
const MAX_INVOCATIONS = 256;

describe("kernel declarations", () => {
  it("cover every .wgsl file", () => {
    for (const file of readdirSync("engine/kernels").filter((name) => name.endsWith(".wgsl"))) {
      const text = readFileSync(`engine/kernels/${file}`, "utf8");
      assert(
        [...kernels, ...optional].some((kernel) => kernel.source.includes(text)),
        file,
      );
    }
  });

  for (const kernel of [...kernels, ...optional]) {
    it(`${kernel.name} agrees with its file`, () => {
      const struct = /struct Params \{([^}]*)\}/.exec(kernel.source)?.[1] ?? "";
      const fields = [...struct.matchAll(/(\w+): (\w+),/g)].map((field) => [field[1], field[2]]);
      assert.deepEqual(Object.entries(kernel.params), fields, "names, types and order of the parameters");
      const declared = [...kernel.source.matchAll(/@binding\((\d+)\) var<storage, (\w+)> (\w+)/g)];
      const buffers = declared.sort((a, b) => Number(a[1]) - Number(b[1]));
      assert.deepEqual(
        buffers.map((match) => Number(match[1])),
        buffers.map((_, index) => index + 1),
        "bindings follow each other",
      );
      assert.deepEqual(
        Object.entries(kernel.buffers),
        buffers.map((match) => [match[3], match[2]]),
        "names, access and order of the buffers",
      );
      assert(buffers.length <= MAX_STORAGE_BUFFERS);
      const size = /@workgroup_size\((\d+|LANES)(?:, (\d+))?\)/.exec(kernel.source);
      const lanes = size?.[1] === "LANES" ? Math.max(...Object.values(matvecSums).map((sum) => sum.lanes)) : Number(size?.[1]);
      assert(lanes * Number(size?.[2] ?? 1) <= MAX_INVOCATIONS);
      assert(!/\benable\b/.test(kernel.source), "features are enabled by the declaration");
      const used = [
        /\bsubgroup(?!Matrix)[A-Z]/.test(kernel.source) && "subgroups",
        /\b(vec\d|mat\dx\d)h\b|= f16;/.test(kernel.source) && "f16",
        /\bsubgroupMatrix/.test(kernel.source) && "chromium_experimental_subgroup_matrix",
      ];
      assert.deepEqual(used.filter(Boolean), kernel.features);
      assert.equal(kernel.features.length > 0, optional.includes(kernel), "optional features");
    });
  }
});

describe("shaders", () => {
  let gpu: EngineDevice;
  before(async () => {
    gpu = await requireDevice();
  });
  after(() => gpu.destroy());

  it("an error is reported with the kernel that made it, and the device stays usable", async () => {
    const shaders = openShaderCache(gpu);
    const broken: Kernel = { ...gateMul, name: "broken", source: gateMul.source.replace("1.0 + exp(", "unknownFunction(") };
    const constants = { ACTIVATION: 0, GATED: 1 };
    await assert.rejects(shaders.program(broken, constants), { code: "internal", message: /kernel broken .*unknownFunction/s });
    await shaders.program(gateMul, constants);
    gpu.check();
  });

  it("one text is compiled once, another constant again", async () => {
    const shaders = openShaderCache(gpu);
    const first = await shaders.program(ropeApply, { HEAD_DIM: 8 });
    assert.equal((await shaders.program(ropeApply, { HEAD_DIM: 8 })).pipeline, first.pipeline);
    assert.notEqual((await shaders.program(ropeApply, { HEAD_DIM: 16 })).pipeline, first.pipeline);
  });
});
