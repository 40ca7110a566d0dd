// matvec: matmul for one token, in one dispatch: y[o] = act(sum_k n[k] * w[o, k] + bias[o]), added to y where accumulate is 1.
//   codes, scales  w [rows, columns] as the file matrix_<format>.wgsl in front of this one says
//   bias [rows of all slices]; read where hasBias is 1
//   y    [rows of all slices]; this slice's rows go to rowStart ..
//   n    x [columns], or where NORM is 1, x / sqrt(mean x^2 + eps) * gain
// Where GATED is 1, the first half of the rows are gates and the second half what they open: y[o] = act(gate o) * (up o), y [rows / 2];
// then nothing is added to y. ACTIVATION: 0 none, 1 SiLU, 2 GELU by tanh.
// A workgroup computes groupRows outputs (a power of two). An invocation sums one output over every (LANES / groupRows)-th block of 32
// columns (addBlock, from matvec_floats or matvec_integers); neighbouring invocations take neighbouring rows, whose words lie beside
// each other. sumOverParts, from one of the files matvec_sum*.wgsl, adds the parts.
// Reference: linear(), rmsNorm() and gateMultiply() in reference/ops.ts.
struct Params {
  columns: u32,
  blocks: u32,
  rowStart: u32,
  rows: u32,
  groupRows: u32,
  hasBias: u32,
  accumulate: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn activated(value: f32) -> f32 {
  if (ACTIVATION == 1u) {
    return value / (1.0 + exp(-value));
  }
  if (ACTIVATION == 2u) {
    // 0.5 (1 + tanh z) is 1 / (1 + exp(-2 z)), which overflows nowhere.
    return value / (1.0 + exp(-1.5957691216057308 * (value + 0.044715 * value * value * value)));
  }
  return value;
}

fn withBias(sum: f32, output: u32) -> f32 {
  if (params.hasBias == 1u) {
    return sum + bias[params.rowStart + output];
  }
  return sum;
}

fn work(group: u32, lane: u32) {
  let outputs = select(params.rows, params.rows >> 1u, GATED == 1u);
  let output = group * params.groupRows + (lane & (params.groupRows - 1u));
  let row = min(output, outputs - 1u);
  let stride = LANES / params.groupRows;
  var sums = vec3f(0.0);
  for (var block = lane / params.groupRows; block < params.blocks; block += stride) {
    sums = addBlock(sums, row, block);
  }
  sums = sumOverParts(sums, lane);
  if (lane >= params.groupRows || output >= outputs) {
    return;
  }
  var factor = 1.0;
  if (NORM == 1u) {
    factor = inverseSqrt(sums.z / f32(params.columns) + params.eps);
  }
  var value = activated(withBias(sums.x * factor, output));
  if (GATED == 1u) {
    value *= withBias(sums.y * factor, output + outputs);
  }
  let cell = params.rowStart + output;
  if (params.accumulate == 1u) {
    value += y[cell];
  }
  y[cell] = value;
}
