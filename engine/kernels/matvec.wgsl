// matvec: matmul for one token: y[o] = sum_k x[k] * w[o, k] + bias[o], added to y where accumulate is 1.
//   x    [columns / 4] of vec4
//   w    [columns / 4, paddedRows] of vec4 along k
//   bias [rows of all slices]; read where hasBias is 1
//   y    [yRow]; this slice's rows go to columns rowStart ..
// A workgroup computes 16 outputs; 8 invocations share one output, each summing every 8th part of k, then the first adds the 8 sums.
// Neighbouring invocations take neighbouring outputs, whose weights lie behind each other.
// Reference: linear() in reference/ops.ts.
struct Params {
  columns4: u32,
  rowStart: u32,
  rows: u32,
  paddedRows: u32,
  hasBias: u32,
  accumulate: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, 128>;

@compute @workgroup_size(16, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  // Invocations behind the last row work on it too, so that all reach the barrier.
  let output = min(group.x * 16u + lane.x, params.rows - 1u);
  var sum = 0f;
  for (var k = lane.y; k < params.columns4; k += 8u) {
    sum += dot(x[k], w[k * params.paddedRows + output]);
  }
  partial[lane.y * 16u + lane.x] = sum;
  workgroupBarrier();
  if (lane.y > 0u || group.x * 16u + lane.x >= params.rows) {
    return;
  }
  var value = 0f;
  for (var i = 0u; i < 8u; i++) {
    value += partial[i * 16u + lane.x];
  }
  let column = params.rowStart + output;
  if (params.hasBias == 1u) {
    value += bias[column];
  }
  if (params.accumulate == 1u) {
    value += y[column];
  }
  y[column] = value;
}
