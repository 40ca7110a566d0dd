// ssd_state: Mamba-2's state over the blocks of a chunk: S <- exp(s_last) S + sum_j exp(s_last - s_j) D_j x_j B_jᵀ, block by block.
//   mixed  [tokens, row4] of vec4: x [heads, HEAD_DIM], then B [groups, STATES4] from b4 on
//   steps  [tokens, heads] of (D, s), s summed from the beginning of each block
//   state  [heads, HEAD_DIM, STATES4] of vec4, kept
//   before [blocks, heads, HEAD_DIM, STATES4] of vec4: the state in front of each block
// One invocation owns four neighbouring numbers of one head's state. Only differences of s are raised: exp(-s_j) alone would overflow.
// Reference: ssdChunked() in reference/recurrentOps.ts.
// Constants: HEAD_DIM, STATES4.
struct Params {
  tokens: u32,
  heads: u32,
  headsPerGroup: u32,
  row4: u32,
  b4: u32,
  block: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mixed: array<vec4f>;
@group(0) @binding(2) var<storage, read> steps: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> state: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> before: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let head = id.y;
  if (id.x >= HEAD_DIM * STATES4) {
    return;
  }
  let cell = head * HEAD_DIM * STATES4 + id.x;
  let x = head * HEAD_DIM + id.x / STATES4;
  let b = params.b4 + head / params.headsPerGroup * STATES4 + id.x % STATES4;
  var value = state[cell];
  var at = cell;
  for (var start = 0u; start < params.tokens; start += params.block) {
    before[at] = value;
    at += params.heads * HEAD_DIM * STATES4;
    let end = min(start + params.block, params.tokens);
    let last = steps[(end - 1u) * params.heads + head].y;
    value *= exp(last);
    for (var j = start; j < end; j++) {
      let step = steps[j * params.heads + head];
      value += exp(last - step.y) * step.x * mixed[j * params.row4 + x / 4u][x % 4u] * mixed[j * params.row4 + b];
    }
  }
  state[cell] = value;
}
