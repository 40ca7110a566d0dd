// matvec_fold: y[o] = sum_s parts[s, o] + bias[o], added to y where accumulate is 1: the second half of matvec.
//   parts [splits, rows]
//   bias  [rows]; read where hasBias is 1
//   y     [rows]
// One invocation adds one output. Reference: linear() in reference/ops.ts.
struct Params {
  rows: u32,
  splits: u32,
  hasBias: u32,
  accumulate: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let output = id.x;
  if (output >= params.rows) {
    return;
  }
  var value = 0f;
  for (var s = 0u; s < params.splits; s++) {
    value += parts[s * params.rows + output];
  }
  if (params.hasBias == 1u) {
    value += bias[output];
  }
  if (params.accumulate == 1u) {
    value += y[output];
  }
  y[output] = value;
}
