// attn_flash3_floats: queries of attn_flash3 as f32. Stands in front of it.
//   queries [tokens, row4] of vec4: the first GROUP * kvHeads heads are the queries in the band's positions
@group(0) @binding(1) var<storage, read> queries: array<vec4f>;

// One part more than a key has, so that the keys of a quad's invocations do not lie in one bank.
const KEY_STRIDE = HEAD_DIM4 + 1u;
var<workgroup> keyTile: array<Part, KEYS * KEY_STRIDE>;

fn storeKey(key: u32, column: u32, part: Part) {
  keyTile[key * KEY_STRIDE + column] = part;
}

// Queries are read where they lie, and products are made where they are wanted.
fn readyQueries(firstRow: u32, lastRow: u32, kvHead: u32, lane: u32) {}

fn readyProducts(lane: u32) {}

// Where the query begins, and what its products are to be multiplied with.
fn queryCell(token: u32, head: u32) -> u32 {
  return token * params.row4 + head * HEAD_DIM4;
}

fn queryScale(token: u32, head: u32) -> f32 {
  return 1.0;
}

// Products of four queries with keys keyLane and keyLane + 8 of the tile.
fn products(cells: vec4u, quad: u32, keyLane: u32) -> array<vec4f, 2> {
  let place0 = keyLane * KEY_STRIDE;
  let place1 = place0 + 8u * KEY_STRIDE;
  var s0 = vec4f(0.0);
  var s1 = vec4f(0.0);
  for (var c = 0u; c < HEAD_DIM4; c++) {
    let q0 = queries[cells.x + c];
    let q1 = queries[cells.y + c];
    let q2 = queries[cells.z + c];
    let q3 = queries[cells.w + c];
    let k0 = numbers(keyTile[place0 + c]);
    let k1 = numbers(keyTile[place1 + c]);
    s0 += vec4f(dot(q0, k0), dot(q1, k0), dot(q2, k0), dot(q3, k0));
    s1 += vec4f(dot(q0, k1), dot(q1, k1), dot(q2, k1), dot(q3, k1));
  }
  return array(s0, s1);
}
