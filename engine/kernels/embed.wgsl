// embed: x[t] = table[ids[t]] * scale, for the ids whose rows lie in this slice of the table.
//   codes, scales  table [rows, columns] as the file matrix_<format>.wgsl in front of this one says
//   ids [tokens]
//   x   [tokens, columns]
// One invocation writes 16 columns. A table larger than one binding comes in several slices, one dispatch each.
// Reference: embed() in reference/ops.ts on the weights that formats/decode.ts makes of the same numbers.
struct Params {
  columns: u32,
  blocks: u32,
  rowStart: u32,
  rows: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let column = id.x * 16u;
  let token = id.y;
  let row = ids[token] - params.rowStart;
  // A row in front of the slice wraps around to a huge number.
  if (column >= params.columns || row >= params.rows) {
    return;
  }
  let w = weights16(row, id.x);
  for (var i = 0u; i < min(16u, params.columns - column); i++) {
    x[token * params.columns + column + i] = (w.codes[i / 4u][i % 4u] * w.scale + w.offset) * params.scale;
  }
}
