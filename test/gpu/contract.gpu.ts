import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import { openShaderCache, type Kernel } from "../../engine/gpu/shader.ts";
import { activate } from "../../engine/kernels/activate.ts";
import { attnDecode } from "../../engine/kernels/attn_decode.ts";
import { attnMerge } from "../../engine/kernels/attn_merge.ts";
import { attnPool } from "../../engine/kernels/attn_pool.ts";
import { attnPrefill } from "../../engine/kernels/attn_prefill.ts";
import { bound } from "../../engine/kernels/bound.ts";
import { causalConv } from "../../engine/kernels/causal_conv.ts";
import { embed } from "../../engine/kernels/embed.ts";
import { embedQ8 } from "../../engine/kernels/embed_q8.ts";
import { gateMul } from "../../engine/kernels/gate_mul.ts";
import { gatedNorm } from "../../engine/kernels/gated_norm.ts";
import { keepRow } from "../../engine/kernels/keep_row.ts";
import { keyReposition } from "../../engine/kernels/key_reposition.ts";
import { keyShift } from "../../engine/kernels/key_shift.ts";
import { kvWrite } from "../../engine/kernels/kv_write.ts";
import { layerNorm } from "../../engine/kernels/layer_norm.ts";
import { matmul } from "../../engine/kernels/matmul.ts";
import { matmulQ8 } from "../../engine/kernels/matmul_q8.ts";
import { matvec } from "../../engine/kernels/matvec.ts";
import { matvecFold } from "../../engine/kernels/matvec_fold.ts";
import { matvecQ8 } from "../../engine/kernels/matvec_q8.ts";
import { qkNorm } from "../../engine/kernels/qk_norm.ts";
import { rmsNorm } from "../../engine/kernels/rms_norm.ts";
import { ropeApply } from "../../engine/kernels/rope_apply.ts";
import { sample } from "../../engine/kernels/sample.ts";
import { selectiveScan } from "../../engine/kernels/selective_scan.ts";
import { ssdOutput } from "../../engine/kernels/ssd_output.ts";
import { ssdScores } from "../../engine/kernels/ssd_scores.ts";
import { ssdState } from "../../engine/kernels/ssd_state.ts";
import { ssdStep } from "../../engine/kernels/ssd_step.ts";
import { ssdSteps } from "../../engine/kernels/ssd_steps.ts";
import { takeColumns } from "../../engine/kernels/take_columns.ts";
import { tokenShift } from "../../engine/kernels/token_shift.ts";
import { valueMix } from "../../engine/kernels/value_mix.ts";
import { wkvFinish } from "../../engine/kernels/wkv_finish.ts";
import { wkvPrepare } from "../../engine/kernels/wkv_prepare.ts";
import { wkvScan } from "../../engine/kernels/wkv_scan.ts";
import { requireDevice } from "../support/requireDevice.ts";

const kernels: readonly Kernel[] = [
  activate,
  attnDecode,
  attnMerge,
  attnPool,
  attnPrefill,
  bound,
  causalConv,
  embed,
  embedQ8,
  gateMul,
  gatedNorm,
  keepRow,
  keyReposition,
  keyShift,
  kvWrite,
  layerNorm,
  matmul,
  matmulQ8,
  matvec,
  matvecFold,
  matvecQ8,
  qkNorm,
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
  tokenShift,
  valueMix,
  wkvFinish,
  wkvPrepare,
  wkvScan,
];

/** What the smallest WebGPU device offers. */
const MAX_STORAGE_BUFFERS = 8;
const MAX_INVOCATIONS = 256;

describe("kernel declarations", () => {
  it("cover every .wgsl file", () => {
    const files = readdirSync("engine/kernels").filter((name) => name.endsWith(".wgsl"));
    assert.deepEqual(
      kernels.map((kernel) => `${kernel.name}.wgsl`),
      files.sort(),
    );
  });

  for (const kernel of kernels) {
    it(`${kernel.name} agrees with its file`, () => {
      const struct = /struct Params \{([^}]*)\}/.exec(kernel.source)?.[1] ?? "";
      const fields = [...struct.matchAll(/(\w+): (\w+),/g)].map((field) => [field[1], field[2]]);
      assert.deepEqual(Object.entries(kernel.params), fields, "names, types and order of the parameters");
      const buffers = [...kernel.source.matchAll(/@binding\((\d+)\) var<storage, (\w+)> (\w+)/g)];
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
      const size = /@workgroup_size\((\d+)(?:, (\d+))?\)/.exec(kernel.source);
      assert(Number(size?.[1]) * Number(size?.[2] ?? 1) <= MAX_INVOCATIONS);
      assert(!/\benable\b|subgroup/.test(kernel.source), "no optional features");
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
