// embed: x[t] = table[ids[t]] * scale, for the ids whose rows lie in this slice of the table.
//   ids   [tokens]
//   table [columns / 4, paddedRows] of vec4: value (row, 4 * c .. 4 * c + 3) lies at c * paddedRows + row
//   x     [tokens, columns / 4] of vec4
// One invocation copies one vec4. A table larger than one binding comes in several slices, one dispatch each.
// Reference: embed() in reference/ops.ts.
struct Params {
  columns4: u32,
  rowStart: u32,
  rows: u32,
  paddedRows: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4f>;

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
  x[token * params.columns4 + column] = table[column * params.paddedRows + row] * params.scale;
}
