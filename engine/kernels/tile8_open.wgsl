// tile8_open: keeps rows of a chunk unrounded that belong to a tile which is not full yet, for when it grows (tile8_put).
//   source [tokens, row4] of vec4: the heads begin at start4 of each row
//   open   [BLOCK_TOKENS, width4] of vec4: the row of position p is p % BLOCK_TOKENS
// One invocation moves one vec4 of the token `first` + id.y. Reference: roundTiles() in reference/flash3.ts.
// Constants: BLOCK_TOKENS.
struct Params {
  row4: u32,
  start4: u32,
  width4: u32,
  first: u32,
  start: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> open: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.width4) {
    return;
  }
  let token = params.first + id.y;
  open[(params.start + token) % BLOCK_TOKENS * params.width4 + id.x] = source[token * params.row4 + params.start4 + id.x];
}
