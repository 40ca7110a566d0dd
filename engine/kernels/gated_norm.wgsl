// gated_norm: y[t] <- g / sqrt(mean(g^2) + eps) * weight with g = y[t] * silu(z[t]), the mean over each group of groupWidth channels.
//   y      [tokens, width], in place
//   z      [tokens, zRow]: its first `width` columns
//   weight [width]
// One workgroup norms one group of one token; each of its invocations takes every 64th channel.
// Reference: gatedRmsNorm() in reference/recurrentOps.ts.
struct Params {
  width: u32,
  groupWidth: u32,
  zRow: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let token = tile.x;
  let first = tile.y * params.groupWidth;
  var squares = 0f;
  for (var c = lane; c < params.groupWidth; c += 64u) {
    let gate = z[token * params.zRow + first + c];
    let at = token * params.width + first + c;
    let gated = y[at] * gate / (1.0 + exp(-gate));
    y[at] = gated;
    squares += gated * gated;
  }
  partial[lane] = squares;
  workgroupBarrier();
  var total = 0f;
  for (var i = 0u; i < 64u; i++) {
    total += partial[i];
  }
  let factor = inverseSqrt(total / f32(params.groupWidth) + params.eps);
  // Each invocation reads back only what it wrote itself.
  for (var c = lane; c < params.groupWidth; c += 64u) {
    y[token * params.width + first + c] *= factor * weight[first + c];
  }
}
