import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { alloc32, alloc64 } from "../../../engine/reference/ops.ts";
import {
  causalConv,
  gatedRmsNorm,
  headNorm,
  normalizeHeads,
  selectiveScan,
  siluInPlace,
  softplus,
  ssdChunked,
  ssdScan,
  tokenShift,
  wkvDecay,
  wkvScan,
  type SsdScan,
} from "../../../engine/reference/recurrentOps.ts";
import { fill, goldenFile } from "../../support/goldenModels.ts";

/** Numbers nested in lists to any depth. */
type Nested = number | readonly Nested[];

interface ScanFile {
  mamba1: Record<"u" | "dt" | "A" | "B" | "C" | "D" | "y" | "state_after_each_step", Nested>;
  causal_conv1d: Record<"x" | "weight" | "bias" | "y_before_silu" | "y_after_silu" | "state_kept_for_next_token", Nested>;
  mamba2_ssd: Record<"x" | "dt" | "A" | "B" | "C" | "D" | "y" | "final_state_HPN" | "state_after_each_chunk", Nested>;
}

interface StepsFile {
  rwkv7_head: Record<
    "r" | "k_before" | "v" | "k_k" | "k_a" | "a" | "log_decay" | "kk" | "k_after" | "out_before_groupnorm" | "state_value_by_key",
    Nested
  >;
  rwkv7_decay_identity: { w_raw: number[]; decay: number[] };
}

const scans = goldenFile("mamba_scan.json") as ScanFile;
const steps = goldenFile("rwkv_steps.json") as StepsFile;
/** What float64 leaves of a handful of products. */
const EXACT = 1e-10;

describe("Mamba's scan", () => {
  const { u, dt, A, B, C, D, y, state_after_each_step: states } = scans.mamba1;
  const scan = { u: flat(u), step: flat(dt), b: flat(B), c: flat(C), decayLog: logOf(A), skip: flat(D) };

  it("gives the recorded outputs and states, in one call and token by token", () => {
    const whole = new Float64Array(6);
    close(selectiveScan(alloc64, scan, whole), flat(y), EXACT);
    const state = new Float64Array(6);
    for (let token = 0; token < 4; token++) {
      const one = {
        ...scan,
        u: scan.u.slice(2 * token, 2 * token + 2),
        step: scan.step.slice(2 * token, 2 * token + 2),
        b: scan.b.slice(3 * token, 3 * token + 3),
        c: scan.c.slice(3 * token, 3 * token + 3),
      };
      close(selectiveScan(alloc64, one, state), flat(y).slice(2 * token, 2 * token + 2), EXACT);
      close(state, flat(states).slice(6 * token, 6 * token + 6), EXACT);
    }
    assert.deepEqual(state, whole);
  });

  it("stays within f32 where its state is f32", () => {
    close(selectiveScan(alloc32, scan, new Float32Array(6)), flat(y), 1e-5);
  });
});

describe("the causal convolution", () => {
  const { x, weight, bias, y_before_silu: before, y_after_silu: after, state_kept_for_next_token: kept } = scans.causal_conv1d;

  for (const size of [1, 2, 3, 5]) {
    it(`gives the recorded rows and keeps the recorded tail, ${size} tokens at a time`, () => {
      const tail = new Float64Array(6);
      const rows: number[] = [];
      for (let start = 0; start < 5; start += size) {
        rows.push(...causalConv(alloc64, flat(x).slice(2 * start, 2 * (start + size)), flat(weight), flat(bias), tail, 2));
      }
      close(rows, flat(before), EXACT);
      close(tail, flat(kept), EXACT);
      const active = Float64Array.from(rows);
      siluInPlace(active);
      close(active, flat(after), EXACT);
    });
  }

  it("adds nothing where there is no bias, and has no tail with one tap", () => {
    close(causalConv(alloc64, Float64Array.of(1, 2), Float64Array.of(3, 4), undefined, new Float64Array(0), 2), [3, 8], 0);
  });
});

describe("Mamba-2's scan", () => {
  const { x, dt, A, B, C, D, y, final_state_HPN: last, state_after_each_chunk: states } = scans.mamba2_ssd;
  // The file gives b and c of every head: two groups of one head each.
  const shape = { headCount: 2, headDim: 2, groupCount: 2, stateSize: 3 };
  const scan = { x: flat(x), step: flat(dt), b: flat(B), c: flat(C), decayLog: logOf(A), skip: flat(D) };

  it("gives the recorded outputs and state as a recurrence", () => {
    const state = new Float64Array(12);
    close(ssdScan(alloc64, scan, shape, state), flat(y), EXACT);
    close(state, flat(last), EXACT);
  });

  for (const size of [1, 2, 3, 4, 5, 7]) {
    it(`gives the same in chunks of ${size}`, () => {
      const state = new Float64Array(12);
      close(ssdChunked(alloc64, scan, shape, size, state), flat(y), EXACT);
      close(state, flat(last), EXACT);
    });
  }

  it("leaves the recorded state behind every chunk of two", () => {
    const state = new Float64Array(12);
    for (let chunk = 0; chunk < 3; chunk++) {
      ssdChunked(alloc64, tokensOf(scan, 2 * chunk, Math.min(5, 2 * chunk + 2)), shape, 2, state);
      close(state, flat(states).slice(12 * chunk, 12 * chunk + 12), EXACT);
    }
  });

  it("shares b and c among the heads of a group, and stays finite where a chunk forgets everything", () => {
    const grouped = { headCount: 4, headDim: 2, groupCount: 2, stateSize: 3 };
    const random = {
      x: fill("x", [9, 4, 2], 1),
      // A sum of 9 × 90 × e^2 is far beyond what exp can invert.
      step: fill("step", [9, 4], 45, 45),
      b: fill("b", [9, 2, 3], 1),
      c: fill("c", [9, 2, 3], 1),
      decayLog: fill("decay", [4], 2),
      skip: fill("skip", [4], 1),
    };
    const [one, other] = [fill("state", [4, 2, 3], 1), fill("state", [4, 2, 3], 1)];
    const expected = ssdScan(alloc64, random, grouped, one);
    assert.ok(expected.every((value) => Number.isFinite(value)));
    close(ssdChunked(alloc64, random, grouped, 4, other), expected, 1e-9);
    close(other, one, 1e-9);
    const first = { ...random, b: random.b.map((value, i) => (i % 6 < 3 ? value : value + 1)) };
    const changed = ssdScan(alloc64, first, grouped, fill("state", [4, 2, 3], 1));
    for (let head = 0; head < 4; head++) {
      const same = changed[head * 2] === expected[head * 2];
      assert.equal(same, head < 2, `head ${head} reads the b of group ${Math.floor(head / 2)}`);
    }
  });
});

describe("the gated norm", () => {
  const y = fill("y", [2, 8], 1);
  const z = fill("z", [2, 8], 2);
  const weight = fill("w", [8], 0.2, 1);

  it("multiplies by silu(z) first, then norms each group", () => {
    const whole = gatedRmsNorm(alloc64, y, z, weight, 8, 0.1);
    const gated = y.map((value, i) => (value * z[i]) / (1 + Math.exp(-z[i])));
    const meanSquare = gated.slice(8).reduce((sum, value) => sum + value * value, 0) / 8;
    close(
      whole.slice(8),
      gated.slice(8).map((value, i) => (value / Math.sqrt(meanSquare + 0.1)) * weight[i]),
      EXACT,
    );
    const halves = gatedRmsNorm(alloc64, y, z, weight, 4, 0.1);
    const alone = gatedRmsNorm(alloc64, y.slice(4, 8), z.slice(4, 8), weight.slice(4), 4, 0.1);
    close(halves.slice(4, 8), alone, EXACT);
    assert.ok(Math.abs(halves[0] - whole[0]) > 1e-3);
  });
});

describe("RWKV-7's head", () => {
  const file = steps.rwkv7_head;
  const removal = flat(file.k_before).map((value, i) => value * flat(file.k_k)[i % 3]);
  normalizeHeads(removal, 3);
  const rate = flat(file.a);
  const key = flat(file.k_before).map((value, i) => value * (1 + (rate[i] - 1) * flat(file.k_a)[i % 3]));
  const decay = flat(file.log_decay).map(Math.exp);
  const wkv = { receptance: flat(file.r), decay, key, value: flat(file.v), removal, rate };

  it("normalises and rates its keys as recorded", () => {
    close(removal, flat(file.kk), EXACT);
    close(key, flat(file.k_after), EXACT);
    const zero = new Float64Array(3);
    normalizeHeads(zero, 3);
    assert.deepEqual(zero, new Float64Array(3));
  });

  it("gives the recorded outputs, and the state behind every token", () => {
    close(wkvScan(alloc64, wkv, 1, 3, new Float64Array(9)), flat(file.out_before_groupnorm), EXACT);
    const state = new Float64Array(9);
    for (let token = 0; token < 4; token++) {
      const at = (values: Float64Array): Float64Array => values.slice(3 * token, 3 * token + 3);
      const one = {
        receptance: at(wkv.receptance),
        decay: at(decay),
        key: at(key),
        value: at(wkv.value),
        removal: at(removal),
        rate: at(rate),
      };
      close(wkvScan(alloc64, one, 1, 3, state), at(flat(file.out_before_groupnorm)), EXACT);
      close(state, flat(file.state_value_by_key).slice(9 * token, 9 * token + 9), EXACT);
    }
  });

  it("keeps heads apart", () => {
    const two = (values: Float64Array): Float64Array =>
      Float64Array.from({ length: 24 }, (_, i) => values[Math.floor(i / 6) * 3 + (i % 3)] * (i % 6 < 3 ? 1 : 0.5));
    const doubled = {
      receptance: two(wkv.receptance),
      decay: two(decay),
      key: two(key),
      value: two(wkv.value),
      removal: two(removal),
      rate: two(rate),
    };
    const y = wkvScan(alloc64, doubled, 2, 3, new Float64Array(18));
    const first = Float64Array.from({ length: 12 }, (_, i) => y[Math.floor(i / 3) * 6 + (i % 3)]);
    close(first, flat(file.out_before_groupnorm), EXACT);
  });

  it("decays as both forms of the formula say", () => {
    const { w_raw: raw, decay: expected } = steps.rwkv7_decay_identity;
    close(raw.map(wkvDecay), expected, EXACT);
    close(
      raw.map((value) => Math.exp(-Math.exp(-softplus(-value) - 0.5))),
      expected,
      EXACT,
    );
  });
});

describe("RWKV's other operations", () => {
  it("shifts by the row before, and by the remembered one at the start", () => {
    const shifted = tokenShift(alloc64, Float64Array.of(1, 2, 3, 4), Float64Array.of(5, 6), Float64Array.of(0, 0.5));
    assert.deepEqual([...shifted], [1, 4, 3, 3]);
  });

  it("norms each head by itself", () => {
    const x = Float64Array.of(1, 3, 10, 30);
    const normed = headNorm(alloc64, x, Float64Array.of(1, 1, 2, 2), Float64Array.of(0, 0, 1, 1), 2, 0);
    close(normed, [-1, 1, -1, 3], EXACT);
  });

  it("softplus neither overflows nor loses small values", () => {
    close([softplus(1000), softplus(0)], [1000, Math.LN2], 1e-12);
    assert.ok(Math.abs(softplus(-40) / Math.exp(-40) - 1) < 1e-12);
  });
});

function tokensOf(scan: SsdScan, from: number, to: number): SsdScan {
  const cut = (values: ArrayLike<number>): Float64Array => {
    const width = values.length / 5;
    return Float64Array.from(values).slice(from * width, to * width);
  };
  return { ...scan, x: cut(scan.x), step: cut(scan.step), b: cut(scan.b), c: cut(scan.c) };
}

function flat(values: Nested): Float64Array {
  return Float64Array.from([values].flat(8) as number[]);
}

/** A_log of the negative numbers A. */
function logOf(values: Nested): Float64Array {
  return flat(values).map((value) => Math.log(-value));
}

function close(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(found.length, expected.length);
  const worst = Math.max(0, ...Array.from(found, (value, i) => Math.abs(value - expected[i])));
  assert.ok(worst <= tolerance, `differs by ${worst}, more than ${tolerance}`);
}
