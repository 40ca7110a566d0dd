// kv_put: puts the keys, or the values, of a chunk into one slab of the cache, in its format.
//   source [tokens, row4] of vec4: the heads begin at start4 of each row
//   lists  from slotsAt on [tokens]: where each token stands in the slab, ELSEWHERE where it belongs to another
//   cache  [pages, kvHeads, PAGE_TOKENS, row of the format]
// One invocation moves up to 64 channels of one head of one token: those that share a word of scales.
// Reference: roundRow() in kv-cache/format.ts.
// In front of it stands put_<format>.wgsl. Constants: HEAD_DIM4, PAGE_TOKENS.
struct Params {
  kvHeads: u32,
  row4: u32,
  start4: u32,
  slotsAt: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@group(0) @binding(2) var<storage, read> lists: array<u32>;

const ELSEWHERE = 0xffffffffu;
const PIECE4 = 16u;
var<private> piece: array<vec4f, PIECE4>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let pieces = (HEAD_DIM4 + PIECE4 - 1u) / PIECE4;
  let slot = lists[params.slotsAt + id.y];
  if (id.x >= params.kvHeads * pieces || slot == ELSEWHERE) {
    return;
  }
  let head = id.x / pieces;
  let first = id.x % pieces * PIECE4;
  let columns = min(PIECE4, HEAD_DIM4 - first);
  for (var c = 0u; c < columns; c++) {
    piece[c] = source[id.y * params.row4 + params.start4 + head * HEAD_DIM4 + first + c];
  }
  put((slot / PAGE_TOKENS * params.kvHeads + head) * PAGE_TOKENS + slot % PAGE_TOKENS, first, columns);
}
