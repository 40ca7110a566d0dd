import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { ModelSpec, Runner, WeightStore } from "../../engine/api.ts";
import { openWgslRunner } from "../../engine/backends/wgsl.ts";
import { goldenModel, goldenNames } from "../support/goldenModels.ts";
import { requireGpu, type TestGpu } from "../support/requireDevice.ts";
import { ropeBase, ropeTable } from "../../engine/position/scaling.ts";

let test: TestGpu;
before(async () => {
  test = await requireGpu();
});

describe("golden models", () => {
  for (const name of goldenNames) {
    it(name, async () => {
      const { spec, weights, inputIds, golden, tolerance } = goldenModel(name);
      const runner = await openWgslRunner({ ...test, spec, weights, weightFormat: "f32" });
      runner.setRope(ropeTable(spec.rope, ropeBase(spec), inputIds.length));
      const logits = await runner.append(inputIds, { logits: "all" });
      assert(logits !== undefined);
      const V = spec.vocabSize;
      const off = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i])));
      console.log(name, off(logits.slice(0, V), golden.logits_first), off(logits.slice(6 * V, 7 * V), golden.logits_mid_pos6), off(logits.slice(-V), golden.logits_last));
      runner.dispose();
    });
  }
});
