// layer_norm: y[t] = (x[first + t] - mean) / sqrt(variance + eps) * weight + bias, mean and variance of x[first + t].
//   x      [first + tokens, columns / 4] of vec4
//   weight [columns / 4] of vec4
//   bias   [columns / 4] of vec4; read only when hasBias is 1
//   y      [tokens, columns / 4] of vec4
// One workgroup norms one token; each of its invocations sums every 64th vec4, then all read the 64 partial sums. The variance is summed
// around the mean in a second pass, because the mean of squares would lose what is left of f32.
// Reference: layerNorm() in reference/ops.ts.
struct Params {
  first: u32,
  columns4: u32,
  eps: f32,
  hasBias: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;

var<workgroup> partial: array<f32, 64>;

fn total(lane: u32, own: f32) -> f32 {
  partial[lane] = own;
  workgroupBarrier();
  var sum = 0f;
  for (var i = 0u; i < 64u; i++) {
    sum += partial[i];
  }
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let source = (params.first + group.x) * params.columns4;
  let targetRow = group.x * params.columns4;
  let columns = f32(params.columns4 * 4u);
  var sum = 0f;
  for (var c = lane; c < params.columns4; c += 64u) {
    sum += dot(x[source + c], vec4f(1.0));
  }
  let mean = total(lane, sum) / columns;
  var squares = 0f;
  for (var c = lane; c < params.columns4; c += 64u) {
    let centred = x[source + c] - mean;
    squares += dot(centred, centred);
  }
  let factor = inverseSqrt(total(lane, squares) / columns + params.eps);
  for (var c = lane; c < params.columns4; c += 64u) {
    var value = (x[source + c] - mean) * factor * weight[c];
    if (params.hasBias == 1u) {
      value += bias[c];
    }
    y[targetRow + c] = value;
  }
}
