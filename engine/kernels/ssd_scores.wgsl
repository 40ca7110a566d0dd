// ssd_scores: scores[t, g, j] = C[t, g] · B[first + j, g] for the tokens first + j of t's block up to t, where the block begins at `first`.
//   mixed  [tokens, row4] of vec4: x, then B [groups, states4] from b4 on, then C [groups, states4] from c4 on
//   scores [tokens, groups, block]; entries behind t are not written
// One invocation makes one score; the invocations of a workgroup share their row of C. All heads of a group use the same scores.
// Reference: ssdChunked() in reference/recurrentOps.ts.
struct Params {
  tokens: u32,
  groups: u32,
  states4: u32,
  row4: u32,
  b4: u32,
  c4: u32,
  block: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mixed: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let j = id.x;
  let t = id.y;
  let group = id.z;
  let first = t / params.block * params.block;
  if (j >= params.block || first + j > t) {
    return;
  }
  let b = (first + j) * params.row4 + params.b4 + group * params.states4;
  let c = t * params.row4 + params.c4 + group * params.states4;
  var sum = 0f;
  for (var n = 0u; n < params.states4; n++) {
    sum += dot(mixed[c + n], mixed[b + n]);
  }
  scores[(t * params.groups + group) * params.block + j] = sum;
}
