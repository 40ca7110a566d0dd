// kv_write: puts the keys and values of a chunk into their pages, and its queries behind each other for the attention tap.
//   rotated [tokens, rotatedRow4] of vec4: qHeads query heads, then kvHeads key heads, in the positions of one band
//   qkv     [tokens, qHeads + 2 * kvHeads, HEAD_DIM4] of vec4: its last kvHeads heads are the values
//   pages   [logical pages]: physical page of each
//   keys, values [physical pages, kvHeads, PAGE_TOKENS, HEAD_DIM4] of vec4
//   queries [positions, qHeads, HEAD_DIM4] of vec4; written only when saveQueries is 1
// One invocation moves one vec4. What is 0 of saveQueries, writeKeys and writeValues is left alone: a second band has queries of its own, and
// keys only where they stand at other positions. Reference: reference/cache.ts, which simply appends.
// Constants: HEAD_DIM4, PAGE_TOKENS.
struct Params {
  start: u32,
  qHeads: u32,
  kvHeads: u32,
  rotatedRow4: u32,
  saveQueries: u32,
  writeKeys: u32,
  writeValues: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rotated: array<vec4f>;
@group(0) @binding(2) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(3) var<storage, read> pages: array<u32>;
@group(0) @binding(4) var<storage, read_write> keys: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> queries: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let heads = params.qHeads + 2u * params.kvHeads;
  let token = id.y;
  if (id.x >= heads * HEAD_DIM4) {
    return;
  }
  let head = id.x / HEAD_DIM4;
  let column = id.x % HEAD_DIM4;
  let position = params.start + token;
  if (head < params.qHeads) {
    if (params.saveQueries == 1u) {
      queries[position * params.qHeads * HEAD_DIM4 + id.x] = rotated[token * params.rotatedRow4 + id.x];
    }
    return;
  }
  let kvHead = (head - params.qHeads) % params.kvHeads;
  let page = pages[position / PAGE_TOKENS] * params.kvHeads + kvHead;
  let cell = (page * PAGE_TOKENS + position % PAGE_TOKENS) * HEAD_DIM4 + column;
  if (head < params.qHeads + params.kvHeads) {
    if (params.writeKeys == 1u) {
      keys[cell] = rotated[token * params.rotatedRow4 + id.x];
    }
  } else if (params.writeValues == 1u) {
    values[cell] = qkv[token * heads * HEAD_DIM4 + id.x];
  }
}
