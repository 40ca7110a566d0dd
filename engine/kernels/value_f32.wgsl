// value_f32: cached values as f32, D of a row behind each other. Stands in front of a kernel that reads values.
// Constants: HEAD_DIM4.
@group(0) @binding(3) var<storage, read> values: array<vec4f>;

fn valueAt(row: u32, column: u32) -> vec4f {
  return values[row * HEAD_DIM4 + column];
}
