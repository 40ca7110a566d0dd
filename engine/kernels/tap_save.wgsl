// tap_save: keeps the queries and softmax denominators of sampled tokens for the attention tap.
//   rotated [tokens, row4] of vec4: the first `heads` heads are the queries of one band
//   lseOf   [tokens, heads]
//   samples [grid y] of (token of the chunk, slot of the tap)
//   queries [slots, heads, HEAD_DIM4] of vec4; savedLse [slots, heads], written only when saveLse is 1
// One invocation moves one vec4 of one sample. Reference: reference/runner.ts, which keeps the queries of all tokens.
// Constants: HEAD_DIM4.
struct Params {
  row4: u32,
  heads: u32,
  saveLse: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rotated: array<vec4f>;
@group(0) @binding(2) var<storage, read> lseOf: array<f32>;
@group(0) @binding(3) var<storage, read> samples: array<vec2u>;
@group(0) @binding(4) var<storage, read_write> queries: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> savedLse: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let width = params.heads * HEAD_DIM4;
  if (id.x >= width) {
    return;
  }
  let sample = samples[id.y];
  queries[sample.y * width + id.x] = rotated[sample.x * params.row4 + id.x];
  if (params.saveLse == 1u && id.x < params.heads) {
    savedLse[sample.y * params.heads + id.x] = lseOf[sample.x * params.heads + id.x];
  }
}
