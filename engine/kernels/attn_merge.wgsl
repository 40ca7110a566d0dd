// attn_merge: joins the ranges of attn_decode: M = max lse_s, w_s = exp(lse_s - M), out = sum w_s out_s / sum w_s, lse = M + log(sum w_s).
//   partOut [splits, heads, HEAD_DIM4] of vec4
//   partLse [splits, heads]
//   out      [heads, HEAD_DIM4] of vec4
//   lse      [positions, heads]: the row of `position` is written
// One invocation joins one vec4 of one head. Reference: mergePartials() in reference/attention.ts.
// Constants: HEAD_DIM4.
struct Params {
  splits: u32,
  heads: u32,
  position: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partOut: array<vec4f>;
@group(0) @binding(2) var<storage, read> partLse: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.heads * HEAD_DIM4) {
    return;
  }
  let head = id.x / HEAD_DIM4;
  var largest = partLse[head];
  for (var s = 1u; s < params.splits; s++) {
    largest = max(largest, partLse[s * params.heads + head]);
  }
  var sum = vec4f(0.0);
  var weights = 0f;
  for (var s = 0u; s < params.splits; s++) {
    let weight = exp(partLse[s * params.heads + head] - largest);
    weights += weight;
    sum += weight * partOut[s * params.heads * HEAD_DIM4 + id.x];
  }
  out[id.x] = sum / weights;
  if (id.x % HEAD_DIM4 == 0u) {
    lse[params.position * params.heads + head] = largest + log(weights);
  }
}
