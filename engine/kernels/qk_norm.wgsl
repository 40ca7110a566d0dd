// qk_norm: RMSNorm of every query and key head of a fused projection, in place; values are left alone.
//   qkv      [tokens, qHeads + 2 * kvHeads, HEAD_DIM4] of vec4: query heads, key heads, value heads
//   qWeight [HEAD_DIM4], kWeight [HEAD_DIM4] of vec4
// One invocation norms one head of one token. Reference: rmsNorm() in reference/ops.ts per head.
// Constants: HEAD_DIM4, the head dimension in vec4.
struct Params {
  tokens: u32,
  qHeads: u32,
  kvHeads: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> qWeight: array<vec4f>;
@group(0) @binding(3) var<storage, read> kWeight: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let normed = params.qHeads + params.kvHeads;
  if (id.x >= params.tokens * normed) {
    return;
  }
  let token = id.x / normed;
  let head = id.x % normed;
  let base = (token * (normed + params.kvHeads) + head) * HEAD_DIM4;
  var sum = 0f;
  for (var c = 0u; c < HEAD_DIM4; c++) {
    sum += dot(qkv[base + c], qkv[base + c]);
  }
  let factor = inverseSqrt(sum / f32(HEAD_DIM4 * 4u) + params.eps);
  for (var c = 0u; c < HEAD_DIM4; c++) {
    var weight = qWeight[c];
    if (head >= params.qHeads) {
      weight = kWeight[c];
    }
    qkv[base + c] *= factor * weight;
  }
}
