// attn_merge: joins the attention of one token over disjoint ranges of keys (attn_decode): M = max lse_s, w_s = exp(lse_s - M),
//   out = sum w_s out_s / sum w_s, lse = M + log(sum w_s). A part without keys has an lse so low that it weighs nothing.
//   partOut [splits, rows, HEAD_DIM4] of vec4, a row being one head
//   partLse [splits, rows]
//   out     [rows, HEAD_DIM4] of vec4
//   lse     [rows]
// One invocation joins one vec4 of one row. Reference: mergePartials() in reference/attention.ts.
// Constants: HEAD_DIM4.
struct Params {
  splits: u32,
  rows: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partOut: array<vec4f>;
@group(0) @binding(2) var<storage, read> partLse: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let at = id.x;
  if (at >= params.rows * HEAD_DIM4) {
    return;
  }
  let row = at / HEAD_DIM4;
  var largest = partLse[row];
  for (var s = 1u; s < params.splits; s++) {
    largest = max(largest, partLse[s * params.rows + row]);
  }
  var sum = vec4f(0.0);
  var weights = 0f;
  for (var s = 0u; s < params.splits; s++) {
    let weight = exp(partLse[s * params.rows + row] - largest);
    weights += weight;
    sum += weight * partOut[s * params.rows * HEAD_DIM4 + at];
  }
  out[at] = sum / weights;
  if (at % HEAD_DIM4 == 0u) {
    lse[row] = largest + log(weights);
  }
}
