// page_bounds: the least and the largest value of every channel of each page of UNIT keys (Quest, arXiv 2406.10774), of one slab:
//   bounds [kvHeads, 2, HEAD_DIM4, stride] of vec4: least, then largest; a column for each page that the slab has room for
//   keys   [pages of PAGE_TOKENS, kvHeads, PAGE_TOKENS, row of the format]; those of a slab stand in order
// Pages from firstPage on, and of the last one only the keys before `end`. One invocation bounds one vec4 of channels of one page: neighbours
// read neighbouring channels. Reference: pageBounds() in attention/patterns/quest.ts.
// In front of it stands key_<format>.wgsl. Constants: HEAD_DIM4, UNIT, PAGE_TOKENS.
struct Params {
  firstPage: u32,
  end: u32,
  stride: u32,
  kvHeads: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> bounds: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let page = params.firstPage + id.y;
  let first = page * UNIT;
  if (id.x >= params.kvHeads * HEAD_DIM4 || first >= params.end) {
    return;
  }
  let kvHead = id.x / HEAD_DIM4;
  let column = id.x % HEAD_DIM4;
  let row = (first / PAGE_TOKENS * params.kvHeads + kvHead) * PAGE_TOKENS + first % PAGE_TOKENS;
  let keysHere = min(UNIT, params.end - first);
  var least = keyAt(row, column);
  var most = least;
  for (var i = 1u; i < keysHere; i++) {
    let four = keyAt(row + i, column);
    least = min(least, four);
    most = max(most, four);
  }
  let cell = (kvHead * 2u * HEAD_DIM4 + column) * params.stride + page;
  bounds[cell] = least;
  bounds[cell + HEAD_DIM4 * params.stride] = most;
}
