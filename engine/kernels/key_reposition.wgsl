// key_reposition: rotates cached keys from the positions they have to others, in place: every pair (i, i + pairs) of the key at position p by
//   angles[p] = f (cos d, sin d), d the difference of the two angles and f the quotient of the two attention factors. Channels behind the
//   rotary ones stay, and so do keys behind the last one.
//   keys   [physical pages, kvHeads, PAGE_TOKENS, HEAD_DIM], through pages [logical pages]
//   angles [tokens, pairs] of (cos, sin) for positions start .. start + tokens - 1
// One invocation rotates one pair. Reference: rotateAgain() in reference/cache.ts, which rotates the bare keys anew.
// Constants: HEAD_DIM, PAGE_TOKENS.
struct Params {
  start: u32,
  kvHeads: u32,
  pairs: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> keys: array<f32>;
@group(0) @binding(2) var<storage, read> pages: array<u32>;
@group(0) @binding(3) var<storage, read> angles: array<vec2f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.kvHeads * params.pairs) {
    return;
  }
  let kvHead = id.x / params.pairs;
  let pair = id.x % params.pairs;
  let position = params.start + id.y;
  let page = pages[position / PAGE_TOKENS] * params.kvHeads + kvHead;
  let first = (page * PAGE_TOKENS + position % PAGE_TOKENS) * HEAD_DIM + pair;
  let angle = angles[id.y * params.pairs + pair];
  let a = keys[first];
  let b = keys[first + params.pairs];
  keys[first] = a * angle.x - b * angle.y;
  keys[first + params.pairs] = a * angle.y + b * angle.x;
}
