import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RopeScaling } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { layerBands, positionPlan } from "../../../engine/position/bands.ts";
import { sinksPlan } from "../../../engine/position/sinks.ts";
import { randomModel } from "../../support/goldenModels.ts";

const { spec } = randomModel();
const main = { window: undefined, rotation: "main" } as const;
const plain = positionPlan({ kind: "none" }, spec, 100);

/** What StreamingLLM's released code does: a list of cached tokens, the middle dropped, positions counted along the list. */
function evictingCache(tokens: number, sinks: number, window: number): Map<number, number>[] {
  let cache: number[] = [];
  return Array.from({ length: tokens }, (_, token) => {
    cache.push(token);
    if (cache.length > sinks + window) cache = [...cache.slice(0, sinks), ...cache.slice(sinks + 1)];
    const slot = cache.length - 1;
    return new Map(cache.map((key, place) => [key, slot - place]));
  });
}

describe("eviction with sinks", () => {
  for (const [sinks, window] of [
    [4, 8],
    [1, 1],
    [0, 5],
    [3, 1],
    [4, 60],
    [12, 3],
  ] as const) {
    it(`${sinks} sinks and a window of ${window}: keys and distances are those of an evicting cache`, () => {
      const plan = sinksPlan(plain, sinks, window);
      const cached = evictingCache(50, sinks, window);
      for (const [position, expected] of cached.entries()) {
        const found = new Map<number, number>();
        for (const band of layerBands(plan, main)) {
          const [from, to] = band.keys(position);
          for (let key = from; key < to; key++) {
            assert.ok(!found.has(key), `key ${key} lies in two bands`);
            found.set(key, band.queryPosition(position) - (plan.copies[band.copy]?.(key) ?? NaN));
          }
        }
        assert.deepEqual(
          new Map([...found].sort(([a], [b]) => a - b)),
          new Map([...expected].sort(([a], [b]) => a - b)),
          `${position}`,
        );
        assert.equal(found.size, Math.min(position + 1, sinks + window));
      }
    });
  }

  it("holds in layers without rotation and with another, and within the model's own window", () => {
    const plan = sinksPlan(plain, 2, 4);
    const seen = (layer: Parameters<typeof layerBands>[1]): number[] =>
      layerBands(plan, layer).flatMap((band) => {
        const [from, to] = band.keys(20);
        return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
      });
    for (const rotation of ["main", "local", "none"] as const) {
      assert.deepEqual(
        seen({ window: undefined, rotation }).sort((a, b) => a - b),
        [0, 1, 17, 18, 19, 20],
      );
      assert.deepEqual(seen({ window: 3, rotation }), [18, 19, 20]);
    }
  });

  it("has a key of its own for each number and each scaling", () => {
    const yarn: RopeScaling = { kind: "linear", factor: 2 };
    const keys = [
      plain.key,
      sinksPlan(plain, 4, 8).key,
      sinksPlan(plain, 5, 8).key,
      sinksPlan(plain, 4, 9).key,
      sinksPlan(positionPlan(yarn, spec, 100), 4, 8).key,
    ];
    assert.equal(new Set(keys).size, keys.length);
  });

  it("is refused where keys stand elsewhere already, and for numbers that see nothing", () => {
    const schemes: RopeScaling[] = [
      { kind: "self_extend", group: 2, window: 4 },
      { kind: "rerope", window: 4 },
      { kind: "dual_chunk", chunkSize: 10, localSize: 4 },
    ];
    for (const scaling of schemes) {
      assert.throws(
        () => sinksPlan(positionPlan(scaling, spec, 100), 4, 8),
        (error) => EngineError.is(error, "bad-argument") && /RoPE/.test(error.message) && /scales frequencies/.test(error.remedy),
      );
    }
    assert.throws(() => sinksPlan(sinksPlan(plain, 4, 8), 4, 8), EngineError);
    for (const [sinks, window] of [
      [4, 0],
      [-1, 4],
      [0.5, 4],
      [4, NaN],
    ] as const) {
      assert.throws(
        () => sinksPlan(plain, sinks, window),
        (error) => EngineError.is(error, "bad-argument"),
      );
    }
  });
});
