import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Sampling } from "../../../engine/api.ts";
import { EngineError } from "../../../engine/errors.ts";
import { isAllowed, sampleLogits, uniformAt } from "../../../engine/reference/sample.ts";

/** Probabilities 0.4, 0.1, 0.3, 0.2 at temperature 1. */
const logits = Float32Array.from([0.4, 0.1, 0.3, 0.2], Math.log);
const warm: Sampling = { temperature: 1, topP: 1, seed: 0 };
const greedy: Sampling = { temperature: 0, topP: 1, seed: 0 };
const mask = (...tokens: number[]): Uint32Array<ArrayBuffer> =>
  Uint32Array.of(tokens.reduce((bits, token) => bits | (1 << token), 0));

describe("the choice of the next token", () => {
  it("greedy takes the largest logit, the lowest index among equals, whatever the random number", () => {
    assert.equal(sampleLogits(logits, greedy, undefined, 0.99), 0);
    assert.equal(sampleLogits(Float32Array.of(-3, 7, 7, 1), greedy, undefined, 0.99), 1);
    assert.equal(sampleLogits(logits, greedy, mask(1, 3), 0.99), 3);
  });

  it("draws from the tokens in order of falling probability", () => {
    const draws: [uniform: number, token: number][] = [
      [0, 0],
      [0.399, 0],
      [0.401, 2],
      [0.699, 2],
      [0.701, 3],
      [0.899, 3],
      [0.901, 1],
      [0.999999, 1],
    ];
    for (const [uniform, token] of draws) assert.equal(sampleLogits(logits, warm, undefined, uniform), token, `at ${uniform}`);
  });

  it("equal probabilities are ordered by index", () => {
    const even = new Float32Array(4);
    assert.deepEqual(
      [0.1, 0.3, 0.6, 0.9].map((uniform) => sampleLogits(even, warm, undefined, uniform)),
      [0, 1, 2, 3],
    );
  });

  it("the nucleus is the fewest tokens whose mass reaches topP, drawn from in proportion", () => {
    // 0.4 + 0.3 reach 0.65; within them the first has 4/7.
    const narrow = { ...warm, topP: 0.65 };
    assert.equal(sampleLogits(logits, narrow, undefined, 0.57), 0);
    assert.equal(sampleLogits(logits, narrow, undefined, 0.58), 2);
    assert.equal(sampleLogits(logits, narrow, undefined, 0.999), 2);
    assert.equal(sampleLogits(logits, { ...warm, topP: 0.01 }, undefined, 0.999), 0);
  });

  it("temperature sharpens and flattens", () => {
    // Squared: 0.16, 0.01, 0.09, 0.04 of 0.30.
    assert.equal(sampleLogits(logits, { ...warm, temperature: 0.5 }, undefined, 0.53), 0);
    assert.equal(sampleLogits(logits, { ...warm, temperature: 0.5 }, undefined, 0.54), 2);
    assert.equal(sampleLogits(logits, { ...warm, temperature: 1000 }, undefined, 0.26), 2);
  });

  it("the mask comes before the nucleus", () => {
    assert.equal(sampleLogits(logits, { ...warm, topP: 0.5 }, mask(1, 3), 0.999), 3);
    assert.equal(sampleLogits(logits, { ...warm, topP: 0.7 }, mask(1, 3), 0.999), 1);
    const wide = new Float32Array(70);
    assert.equal(sampleLogits(wide, greedy, Uint32Array.of(0, 0, 1 << 5), 0.5), 69);
    assert.equal(isAllowed(Uint32Array.of(0, 1 << 31), 63), true);
  });

  it("follows the probabilities over many positions of one seed", () => {
    const counts = [0, 0, 0, 0];
    const draws = 20000;
    for (let position = 0; position < draws; position++) counts[sampleLogits(logits, warm, undefined, uniformAt(7, position))]++;
    // Five standard deviations of a share of 0.5 in 20000 draws are 0.018; the numbers are fixed by the hash, so this never flickers.
    [0.4, 0.1, 0.3, 0.2].forEach((share, token) => assert.ok(Math.abs(counts[token] / draws - share) < 0.018));
  });

  it("its random numbers lie in [0, 1) and depend on seed and position", () => {
    const seen = new Set<number>();
    for (let seed = -2; seed < 20; seed++) {
      for (let position = 0; position < 50; position++) {
        const uniform = uniformAt(seed, position);
        assert.ok(uniform >= 0 && uniform < 1);
        seen.add(uniform);
      }
    }
    assert.equal(seen.size, 22 * 50);
    assert.equal(uniformAt(3, 4), uniformAt(3, 4));
  });

  it("refuses settings and masks that allow nothing", () => {
    const wrong: [Sampling, Uint32Array<ArrayBuffer> | undefined][] = [
      [{ ...warm, temperature: -1 }, undefined],
      [{ ...warm, temperature: NaN }, undefined],
      [{ ...warm, topP: 0 }, undefined],
      [{ ...warm, topP: 1.1 }, undefined],
      [{ ...warm, seed: 0.5 }, undefined],
      [greedy, mask()],
      [greedy, Uint32Array.of(1, 1)],
    ];
    for (const [sampling, allowed] of wrong) {
      assert.throws(
        () => sampleLogits(logits, sampling, allowed, 0.5),
        (error) => EngineError.is(error, "bad-argument") && error.remedy !== "",
      );
    }
  });
});
