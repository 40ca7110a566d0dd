// rope_apply: rotates the pair (i, i + pairs) of every query and key head by its angle and scales it:
//   (a, b) -> s (a cos - b sin, a sin + b cos); channels from 2 * pairs on are only scaled (partial rotary).
//   qkv     [tokens, row]: qHeads query heads, then key heads, HEAD_DIM each; what follows is not read
//   angles  [tokens, 2, pairs + 1] of (cos, sin): those of queries, then those of keys, the scaling's attention factor in them; the last
//           of each is (s, 0). Made on the CPU in float64.
//   rotated [tokens, heads, HEAD_DIM]
// One invocation writes two channels. Reference: rotateHeads() in position/rope.ts.
// Constants: HEAD_DIM.
struct Params {
  row: u32,
  qHeads: u32,
  heads: u32,
  pairs: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> angles: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> rotated: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let token = id.y;
  let pairsInHead = HEAD_DIM / 2u;
  if (id.x >= params.heads * pairsInHead) {
    return;
  }
  let head = id.x / pairsInHead;
  let item = id.x % pairsInHead;
  let source = token * params.row + head * HEAD_DIM;
  let written = (token * params.heads + head) * HEAD_DIM;
  let kind = (token * 2u + select(0u, 1u, head >= params.qHeads)) * (params.pairs + 1u);
  let scale = angles[kind + params.pairs].x;
  if (item < params.pairs) {
    let angle = angles[kind + item] * scale;
    let a = qkv[source + item];
    let b = qkv[source + item + params.pairs];
    rotated[written + item] = a * angle.x - b * angle.y;
    rotated[written + item + params.pairs] = a * angle.y + b * angle.x;
    return;
  }
  let plain = 2u * params.pairs + 2u * (item - params.pairs);
  rotated[written + plain] = qkv[source + plain] * scale;
  rotated[written + plain + 1u] = qkv[source + plain + 1u] * scale;
}
