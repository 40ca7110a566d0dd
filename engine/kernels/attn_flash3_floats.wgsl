// attn_flash3_floats: queries of attn_flash3 as f32. Stands in front of it.
//   queries [tokens, row4] of vec4: the first GROUP * kvHeads heads are the queries in the band's positions
@group(0) @binding(1) var<storage, read> queries: array<vec4f>;

// Where the query begins, and what its products are to be multiplied with.
fn queryCell(token: u32, head: u32) -> u32 {
  return token * params.row4 + head * HEAD_DIM4;
}

fn queryScale(token: u32, head: u32) -> f32 {
  return 1.0;
}

// Products of four queries with two keys of the tile, whose parts begin at those places.
fn products(cells: vec4u, place0: u32, place1: u32) -> array<vec4f, 2> {
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
