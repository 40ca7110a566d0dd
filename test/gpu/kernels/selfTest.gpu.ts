import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { DeviceAbilities, EngineDevice } from "../../../engine/gpu/device.ts";
import { chooseVariants, openTrial, type ChosenVariants } from "../../../engine/gpu/selfTest.ts";
import { openShaderCache, type ShaderCache } from "../../../engine/gpu/shader.ts";
import { EngineError } from "../../../engine/errors.ts";
import { requireDevice } from "../../support/requireDevice.ts";

let gpu: EngineDevice;
let shaders: ShaderCache;
before(async () => {
  gpu = await requireDevice();
  shaders = openShaderCache(gpu);
});
after(() => gpu.destroy());

/** The same device as if it were a graphics card, and with other abilities. */
function withAbilities(abilities: Partial<DeviceAbilities>): EngineDevice {
  return { ...gpu, abilities: { ...gpu.abilities, software: false, ...abilities } };
}

/** A cache that edits kernels on the way, as a driver with a mistake would. */
function mistaken(edit: (source: string, name: string) => string): ShaderCache {
  const inner = openShaderCache(gpu);
  return { program: (kernel, consts) => inner.program({ ...kernel, source: edit(kernel.source, kernel.name) }, consts) };
}

function reasonOf({ reports }: ChosenVariants, variant: string): string {
  return reports.find((report) => report.variant === variant)?.because ?? assert.fail(`no report on ${variant}`);
}

describe("the choice of kernels", () => {
  it("a software adapter gets kernels without barriers, and every decision has a reason", async () => {
    const { variants, reports } = await chooseVariants(
      { ...gpu, abilities: { ...gpu.abilities, software: true } },
      shaders,
      "fast",
    );
    assert.deepEqual(variants, { matmul: "direct", matvec: "none", integers: false, halvesByIntegers: false });
    assert.deepEqual(
      reports.map(({ variant, used }) => [variant, used]),
      [
        ["workgroup tiles", false],
        ["unpacking of binary16", true],
        ["subgroups", false],
        ["products of integers", false],
        ["products in binary16", false],
      ],
    );
    for (const { because } of reports) assert(because.length > 10);
  });

  it("what is not exact is only used where it was asked for", async () => {
    const exact = await chooseVariants(withAbilities({ subgroups: false }), shaders, "exact");
    assert.deepEqual(exact.variants, { matmul: "tiled", matvec: "shared", integers: false, halvesByIntegers: false });
    assert.match(reasonOf(exact, "products of integers"), /not exact/);
    const fast = await chooseVariants(withAbilities({ integerProducts: true, subgroups: false, f16: false }), shaders, "fast");
    assert.equal(fast.variants.integers, true, reasonOf(fast, "products of integers"));
    assert.match(reasonOf(fast, "products of integers"), /0\.\d+ % of error/);
  });

  it("what the device does not have is not tried", async () => {
    const none = { subgroups: false, integerProducts: false, f16: false };
    const { variants, ...rest } = await chooseVariants(withAbilities(none), shaders, "fast");
    assert.deepEqual(variants, { matmul: "tiled", matvec: "shared", integers: false, halvesByIntegers: false });
    assert.match(reasonOf({ variants, ...rest }, "subgroups"), /no subgroups/);
    assert.match(reasonOf({ variants, ...rest }, "products in binary16"), /no shader-f16/);
  });

  it("features that the device has pass their trials; those it has not do not compile", async () => {
    const trial = openTrial(gpu, shaders);
    const { subgroups, f16 } = gpu.abilities;
    if (subgroups) assert.deepEqual((await trial.subgroups()).passed, true);
    else await assert.rejects(trial.subgroups(), (error) => EngineError.is(error, "internal"));
    if (f16) assert.deepEqual((await trial.f16()).passed, true);
    else await assert.rejects(trial.f16(), (error) => EngineError.is(error, "internal"));
    trial.close();
    gpu.check();
  });
});

describe("a device that computes something else", () => {
  it("subgroups with wrong sums are left out", async () => {
    const wrong = mistaken((source) => source.replace("total += parts[i];", "total = parts[i];"));
    const chosen = await chooseVariants(withAbilities({}), wrong, "exact");
    assert.equal(chosen.variants.matvec, "shared");
    const because = gpu.abilities.subgroups ? /row \d+ of the self-test is -?\d+ instead of -?\d+/ : /no subgroups/;
    assert.match(reasonOf(chosen, "subgroups"), because);
  });

  it("kernels that do not compile or round too much are left out", async () => {
    const abilities = withAbilities({ integerProducts: true, subgroups: false, f16: false });
    const broken = mistaken((source) => source.replace("fn dot16(", "fn dot17("));
    const refused = await chooseVariants(abilities, broken, "fast");
    assert.equal(refused.variants.integers, false);
    assert.match(reasonOf(refused, "products of integers"), /does not compile.*dot16/s);
    const coarse = mistaken((source) => source.replace("/ 127.0", "/ 12.7"));
    const inexact = await chooseVariants(abilities, coarse, "fast");
    assert.equal(inexact.variants.integers, false);
    assert.match(reasonOf(inexact, "products of integers"), /% of error in the self-test, 1 % allowed/);
    gpu.check();
  });

  it("where unpacking loses the smallest numbers of binary16, integers unpack them", async () => {
    const flush = "let both = unpack2x16float(word); return select(both, vec2f(0.0), abs(both) < vec2f(6.1e-5));";
    const flushing = mistaken((source) => source.replace("return unpack2x16float(word);", flush));
    const { variants, ...rest } = await chooseVariants(withAbilities({ subgroups: false }), flushing, "exact");
    assert.equal(variants.halvesByIntegers, true);
    assert.match(reasonOf({ variants, ...rest }, "unpacking of binary16"), /5\.96\d*e-8 comes back as 0/);
    const trial = openTrial(gpu, flushing);
    assert.equal((await trial.halves({ halvesByIntegers: true })).passed, true);
    trial.close();
  });
});
