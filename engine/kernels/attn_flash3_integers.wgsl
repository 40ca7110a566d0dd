// attn_flash3_integers: queries of attn_flash3 as bytes, and products of four bytes at once (DP4A), which WGSL has where it has
// packed_4x8_integer_dot_product. Stands in front of it, behind attn_flash3_tile8.
//   queries [pages, GROUP * kvHeads, PAGE_TOKENS rows of HEAD_DIM4 words, then scales]: the chunk as tile8_put makes it
@group(0) @binding(1) var<storage, read> queries: array<u32>;

// One part more than a key has, so that the keys of a quad's invocations do not lie in one bank.
const KEY_STRIDE = HEAD_DIM4 + 1u;
var<workgroup> keyTile: array<Part, KEYS * KEY_STRIDE>;

fn storeKey(key: u32, column: u32, part: Part) {
  keyTile[key * KEY_STRIDE + column] = part;
}

// Queries are read where they lie, and products are made where they are wanted.
fn readyQueries(firstRow: u32, lastRow: u32, kvHead: u32, lane: u32) {}

fn readyProducts(lane: u32) {}

fn queryRun(token: u32, head: u32) -> u32 {
  let run = token / PAGE_TOKENS * params.kvHeads * GROUP + head;
  return run * (PAGE_TOKENS * HEAD_DIM4 + PAGE_TOKENS / BLOCK_TOKENS);
}

// Where the query begins, and what its products are to be multiplied with.
fn queryCell(token: u32, head: u32) -> u32 {
  return queryRun(token, head) + token % PAGE_TOKENS * HEAD_DIM4;
}

fn queryScale(token: u32, head: u32) -> f32 {
  return bitcast<f32>(queries[queryRun(token, head) + PAGE_TOKENS * HEAD_DIM4 + token % PAGE_TOKENS / BLOCK_TOKENS]);
}

// Products of four queries with keys keyLane and keyLane + 8 of the tile. A sum of 256 products of bytes has 22 bits.
fn products(cells: vec4u, quad: u32, keyLane: u32) -> array<vec4f, 2> {
  let place0 = keyLane * KEY_STRIDE;
  let place1 = place0 + 8u * KEY_STRIDE;
  var s0 = vec4i(0);
  var s1 = vec4i(0);
  for (var c = 0u; c < HEAD_DIM4; c++) {
    let q0 = queries[cells.x + c];
    let q1 = queries[cells.y + c];
    let q2 = queries[cells.z + c];
    let q3 = queries[cells.w + c];
    let k0 = keyTile[place0 + c];
    let k1 = keyTile[place1 + c];
    s0 += vec4i(dot4I8Packed(q0, k0), dot4I8Packed(q1, k0), dot4I8Packed(q2, k0), dot4I8Packed(q3, k0));
    s1 += vec4i(dot4I8Packed(q0, k1), dot4I8Packed(q1, k1), dot4I8Packed(q2, k1), dot4I8Packed(q3, k1));
  }
  return array(vec4f(s0), vec4f(s1));
}
