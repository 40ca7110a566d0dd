// rms_norm: y[t] = x[first + t] / sqrt(mean(x[first + t]^2) + eps) * weight, or that added to y[t].
//   x      [first + tokens, columns / 4] of vec4
//   weight [columns / 4] of vec4
//   y      [tokens, columns / 4] of vec4
// One workgroup norms one token; each of its invocations sums every 64th vec4, then all read the 64 partial sums.
// Reference: rmsNorm() in reference/ops.ts.
struct Params {
  first: u32,
  columns4: u32,
  eps: f32,
  accumulate: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let source = (params.first + group.x) * params.columns4;
  let targetRow = group.x * params.columns4;
  var sum = 0f;
  for (var c = lane; c < params.columns4; c += 64u) {
    let value = x[source + c];
    sum += dot(value, value);
  }
  partial[lane] = sum;
  workgroupBarrier();
  var total = 0f;
  for (var i = 0u; i < 64u; i++) {
    total += partial[i];
  }
  let factor = inverseSqrt(total / f32(params.columns4 * 4u) + params.eps);
  for (var c = lane; c < params.columns4; c += 64u) {
    let value = x[source + c] * factor * weight[c];
    y[targetRow + c] = select(value, y[targetRow + c] + value, params.accumulate == 1u);
  }
}
