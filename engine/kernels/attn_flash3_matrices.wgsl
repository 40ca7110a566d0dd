// attn_flash3_matrices: queries of attn_flash3 in workgroup memory, multiplied with a whole tile of keys at once by matrix units. Stands in front
// of it, behind matrix_units_<how>.wgsl, which has alias Element, element() and multiply().
//   queries [tokens, row4] of vec4: the first GROUP * kvHeads heads are the queries in the band's positions
// Every invocation turns its share of the tile into elements; after a barrier the units multiply, and after another one the products of all rows
// of the workgroup with all keys of the tile lie in workgroup memory.
@group(0) @binding(1) var<storage, read> queries: array<vec4f>;

// One tile of keys, whose words wait there to become elements.
var<workgroup> keyTile: array<Part, KEYS * HEAD_DIM4>;

// Where the query begins, and what its products are to be multiplied with.
fn queryCell(token: u32, head: u32) -> u32 {
  return token * params.row4 + head * HEAD_DIM4;
}

fn queryScale(token: u32, head: u32) -> f32 {
  return 1.0;
}

fn storeKey(key: u32, column: u32, part: Part) {
  keyTile[key * HEAD_DIM4 + column] = part;
}

// Rows of the workgroup as elements, once; rows behind the chunk repeat its last row.
fn readyQueries(firstRow: u32, lastRow: u32, kvHead: u32, lane: u32) {
  for (var i = lane; i < ROWS * HEAD_DIM4; i += LANES) {
    let row = min(firstRow + i / HEAD_DIM4, lastRow);
    let part = queries[queryCell(row / GROUP, kvHead * GROUP + row % GROUP) + i % HEAD_DIM4];
    for (var c = 0u; c < 4u; c++) {
      queryElements[i * 4u + c] = element(part[c]);
    }
  }
}

fn readyProducts(lane: u32) {
  for (var i = lane; i < KEYS * HEAD_DIM4; i += LANES) {
    let part = numbers(keyTile[i]);
    for (var c = 0u; c < 4u; c++) {
      keyElements[i * 4u + c] = element(part[c]);
    }
  }
  workgroupBarrier();
  multiply(lane);
  workgroupBarrier();
}

// Products of the four queries of a quad with keys keyLane and keyLane + 8 of the tile.
fn products(cells: vec4u, quad: u32, keyLane: u32) -> array<vec4f, 2> {
  var sums = array(vec4f(0.0), vec4f(0.0));
  for (var i = 0u; i < 4u; i++) {
    let row = (quad * 4u + i) * KEYS + keyLane;
    sums[0][i] = tileProducts[row];
    sums[1][i] = tileProducts[row + 8u];
  }
  return sums;
}
