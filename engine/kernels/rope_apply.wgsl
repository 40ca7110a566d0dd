// rope_apply: rotates the pair (i, i + pairs) of every query and key head by its position's angle, in place:
//   (a, b) -> (a * cos - b * sin, a * sin + b * cos). Channels from 2 * pairs on pass unchanged (partial rotary).
//   qkv    [tokens, qHeads + 2 * kvHeads, HEAD_DIM]: query heads, key heads, value heads
//   angles [tokens, pairs] of (cos, sin), made on the CPU in float64 with the scaling's attention factor in them
// One invocation rotates one pair. Reference: rotateHeads() in position/rope.ts.
// Constants: HEAD_DIM.
struct Params {
  rotatedHeads: u32,
  row: u32,
  pairs: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> angles: array<vec2f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let token = id.y;
  if (id.x >= params.rotatedHeads * params.pairs) {
    return;
  }
  let head = id.x / params.pairs;
  let pair = id.x % params.pairs;
  let angle = angles[token * params.pairs + pair];
  let first = token * params.row + head * HEAD_DIM + pair;
  let second = first + params.pairs;
  let a = qkv[first];
  let b = qkv[second];
  qkv[first] = a * angle.x - b * angle.y;
  qkv[second] = a * angle.y + b * angle.x;
}
