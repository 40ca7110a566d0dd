// key_reposition: rotates cached keys from the positions they have to others, in place: every pair (i, i + pairs) of the key at position p by
//   angles[p] = f (cos d, sin d), d the difference of the two angles and f the quotient of the two attention factors. Channels behind the
//   rotary ones stay, and so do keys behind the last one.
//   keys   [pages, kvHeads, PAGE_TOKENS, HEAD_DIM]: one slab, in f32
//   lists  from slotsAt on [tokens]: where each token stands in the slab, ELSEWHERE where it belongs to another
//   angles [tokens, pairs] of (cos, sin)
// One invocation rotates one pair. Reference: rotateAgain() in reference/cache.ts, which rotates the bare keys anew.
// Constants: HEAD_DIM, PAGE_TOKENS.
struct Params {
  slotsAt: u32,
  kvHeads: u32,
  pairs: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> keys: array<f32>;
@group(0) @binding(2) var<storage, read> lists: array<u32>;
@group(0) @binding(3) var<storage, read> angles: array<vec2f>;

const ELSEWHERE = 0xffffffffu;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let slot = lists[params.slotsAt + id.y];
  if (id.x >= params.kvHeads * params.pairs || slot == ELSEWHERE) {
    return;
  }
  let kvHead = id.x / params.pairs;
  let pair = id.x % params.pairs;
  let row = (slot / PAGE_TOKENS * params.kvHeads + kvHead) * PAGE_TOKENS + slot % PAGE_TOKENS;
  let first = row * HEAD_DIM + pair;
  let angle = angles[id.y * params.pairs + pair];
  let a = keys[first];
  let b = keys[first + params.pairs];
  keys[first] = a * angle.x - b * angle.y;
  keys[first + params.pairs] = a * angle.y + b * angle.x;
}
