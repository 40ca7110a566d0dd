// take_columns: y[t, c] = x[t, c] for the first `count` columns, 0 for the rest of y's row.
//   x [tokens, xRow]
//   y [tokens, yRow]: a row that is a whole number of vec4, as a product with a matrix needs it
// One invocation writes one number. Reference: columns() in reference/recurrentOps.ts.
struct Params {
  xRow: u32,
  count: u32,
  yRow: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.yRow) {
    return;
  }
  var value = 0f;
  if (id.x < params.count) {
    value = x[id.y * params.xRow + id.x];
  }
  y[id.y * params.yRow + id.x] = value;
}
