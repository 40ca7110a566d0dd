// tile8_put: puts heads of a chunk (keys, values, or queries) into tiles of BLOCK_TOKENS tokens as bytes, with one scale for each tile of a head:
//   scale = largest magnitude of the tile / 127, code = round(x / scale). A tile that is not full yet is written anew, with another scale,
//   when it grows; what was there before comes from `open`, which holds it unrounded, so that a full tile is the same in whatever chunks it came.
//   source [tokens, row4] of vec4: the heads begin at start4 of each row
//   lists  from slotsAt on [tokens]: where each token stands in the slab, ELSEWHERE where it belongs to another
//   open   [BLOCK_TOKENS, heads, HEAD_DIM4] of vec4: rows in front of the chunk that share a tile with its first token
//   cache  [pages, heads, PAGE_TOKENS rows of HEAD_DIM4 words, then PAGE_TOKENS / BLOCK_TOKENS scales]
// A workgroup makes one tile of one head.
// Reference: roundTiles() in reference/flash3.ts.
// Constants: HEAD_DIM4, BLOCK_TOKENS, PAGE_TOKENS.
struct Params {
  heads: u32,
  row4: u32,
  start4: u32,
  slotsAt: u32,
  start: u32,
  tokens: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@group(0) @binding(2) var<storage, read> lists: array<u32>;
@group(0) @binding(3) var<storage, read> open: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> cache: array<u32>;

const ELSEWHERE = 0xffffffffu;
var<workgroup> largest: array<f32, 64>;

fn rowPart(position: u32, head: u32, column: u32) -> vec4f {
  if (position < params.start) {
    return open[(position % BLOCK_TOKENS * params.heads + head) * HEAD_DIM4 + column];
  }
  return source[(position - params.start) * params.row4 + params.start4 + head * HEAD_DIM4 + column];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = group.y;
  let first = (params.start / BLOCK_TOKENS + group.x) * BLOCK_TOKENS;
  let slot = lists[params.slotsAt + max(first, params.start) - params.start];
  if (slot == ELSEWHERE) {
    return;
  }
  let parts = (min(first + BLOCK_TOKENS, params.start + params.tokens) - first) * HEAD_DIM4;
  var most = vec4f(0.0);
  for (var i = lane; i < parts; i += 64u) {
    most = max(most, abs(rowPart(first + i / HEAD_DIM4, head, i % HEAD_DIM4)));
  }
  largest[lane] = max(max(most.x, most.y), max(most.z, most.w));
  workgroupBarrier();
  var bound = 0.0;
  for (var i = 0u; i < 64u; i++) {
    bound = max(bound, largest[i]);
  }
  let scale = bound / 127.0;
  let inverse = select(0.0, 1.0 / scale, scale > 0.0);
  let run = (slot / PAGE_TOKENS * params.heads + head) * (PAGE_TOKENS * HEAD_DIM4 + PAGE_TOKENS / BLOCK_TOKENS);
  let tile = slot % PAGE_TOKENS / BLOCK_TOKENS;
  for (var i = lane; i < parts; i += 64u) {
    let scaled = rowPart(first + i / HEAD_DIM4, head, i % HEAD_DIM4) * inverse;
    // The quotient may be a little above 127 by rounding.
    let codes = clamp(vec4i(round(scaled)), vec4i(-127), vec4i(127)) & vec4i(255);
    cache[run + tile * BLOCK_TOKENS * HEAD_DIM4 + i] = u32(codes.x | (codes.y << 8u) | (codes.z << 16u) | (codes.w << 24u));
  }
  if (lane == 0u) {
    cache[run + PAGE_TOKENS * HEAD_DIM4 + tile] = bitcast<u32>(scale);
  }
}
