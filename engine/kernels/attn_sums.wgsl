// attn_sums: softmax mass of consecutive queries, summed by key and by distance of query and key; what MInference chooses by (arXiv 2407.02490).
//   scores [heads, samples, stride]: attn_scores.wgsl; column 0 is key firstKey; the samples' positions follow each other from firstPosition on
//   lse    [samples, heads]: attn_mass.wgsl
//   sums   [heads, 2, stride]: by key from firstKey on, then by distance from 0 on
// One invocation makes one sum. Reference: massSums() in attention/patterns/minference.ts.
struct Params {
  heads: u32,
  samples: u32,
  stride: u32,
  firstKey: u32,
  firstPosition: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.stride) {
    return;
  }
  let head = id.y;
  let isDistance = id.z == 1u;
  var sum = 0.0;
  for (var sample = 0u; sample < params.samples; sample++) {
    // Distances beyond the first key wrap round to large columns.
    let column = select(id.x, params.firstPosition + sample - params.firstKey - id.x, isDistance);
    if (column < params.stride) {
      sum += exp(scores[(head * params.samples + sample) * params.stride + column] - lse[sample * params.heads + head]);
    }
  }
  sums[(head * 2u + id.z) * params.stride + id.x] = sum;
}
