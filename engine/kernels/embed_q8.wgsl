// embed_q8: x[t] = dequantised table[ids[t]] * scale, for the ids whose rows lie in this slice of the table.
//   ids    [tokens]
//   table  [columns / 4, paddedRows] of u32: four int8, lowest byte first
//   scales [columns / 32, paddedRows]
//   x      [tokens, columns / 4] of vec4
// One invocation writes one vec4. Reference: embed() in reference/ops.ts on rows rounded by formats/q8.ts.
struct Params {
  columns4: u32,
  rowStart: u32,
  rows: u32,
  paddedRows: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let column = id.x;
  let token = id.y;
  if (column >= params.columns4) {
    return;
  }
  let row = ids[token] - params.rowStart;
  // A row in front of the slice wraps around to a huge number.
  if (row >= params.rows) {
    return;
  }
  let packed = bitcast<i32>(table[column * params.paddedRows + row]);
  let bytes = vec4f((vec4i(packed) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u));
  x[token * params.columns4 + column] = bytes * scales[(column / 8u) * params.paddedRows + row] * params.scale;
}
