// ssd_output: y_t = sum_{j ≤ t} scores[t, j] exp(s_t - s_j) D_j x_j + exp(s_t) S C_t + skip x_t, S the state in front of t's block.
//   mixed  [tokens, row4] of vec4: x [heads, HEAD_DIM], and C [groups, STATES4] from c4 on
//   steps  [tokens, heads] of (D, s), s summed from the beginning of each block
//   scores [tokens, groups, block]
//   before [blocks, heads, HEAD_DIM, STATES4] of vec4
//   skip   [heads]
//   y      [tokens, heads, HEAD_DIM]
// A workgroup makes four neighbouring tokens of one head, an invocation one of its numbers for all four: the weights of the block's
// tokens are made once, in workgroup memory, and every x_j and row of the state is read once for the four. The block's length is a
// multiple of four, so that the four lie in one block, and at most 64.
// Reference: ssdChunked() in reference/recurrentOps.ts.
// Constants: HEAD_DIM, STATES4.
struct Params {
  tokens: u32,
  heads: u32,
  headsPerGroup: u32,
  row4: u32,
  c4: u32,
  block: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mixed: array<vec4f>;
@group(0) @binding(2) var<storage, read> steps: array<vec2f>;
@group(0) @binding(3) var<storage, read> scores: array<f32>;
@group(0) @binding(4) var<storage, read> before: array<vec4f>;
@group(0) @binding(5) var<storage, read> skip: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

const FOUR = 4u;
var<workgroup> weights: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = tile.z;
  let group = head / params.headsPerGroup;
  let groups = params.heads / params.headsPerGroup;
  let firstToken = tile.y * FOUR;
  let count = min(FOUR, params.tokens - firstToken);
  let block = firstToken / params.block;
  let start = block * params.block;

  // s of the four tokens; those behind the end repeat the last one and are not stored.
  var sums: vec4f;
  for (var i = 0u; i < FOUR; i++) {
    sums[i] = steps[(firstToken + min(i, count - 1u)) * params.heads + head].y;
  }
  let own = start + lane;
  var weight = vec4f(0.0);
  if (lane < params.block && own < firstToken + count) {
    let step = steps[own * params.heads + head];
    for (var i = 0u; i < count; i++) {
      if (own <= firstToken + i) {
        weight[i] = scores[((firstToken + i) * groups + group) * params.block + lane] * exp(sums[i] - step.y) * step.x;
      }
    }
  }
  weights[lane] = weight;
  workgroupBarrier();

  let p = tile.x * 64u + lane;
  if (p >= HEAD_DIM) {
    return;
  }
  let x = head * HEAD_DIM + p;
  var carried = vec4f(0.0);
  let row = ((block * params.heads + head) * HEAD_DIM + p) * STATES4;
  let c = firstToken * params.row4 + params.c4 + group * STATES4;
  for (var n = 0u; n < STATES4; n++) {
    let held = before[row + n];
    for (var i = 0u; i < count; i++) {
      carried[i] += dot(held, mixed[c + i * params.row4 + n]);
    }
  }
  var sum = carried * exp(sums);
  for (var j = start; j < firstToken + count; j++) {
    sum += weights[j - start] * mixed[j * params.row4 + x / 4u][x % 4u];
  }
  for (var i = 0u; i < count; i++) {
    let direct = skip[head] * mixed[(firstToken + i) * params.row4 + x / 4u][x % 4u];
    y[(firstToken + i) * params.heads * HEAD_DIM + x] = sum[i] + direct;
  }
}
