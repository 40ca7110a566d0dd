// key_f32: cached keys as f32, D of a row behind each other. Stands in front of a kernel that reads keys.
// Constants: HEAD_DIM4.
@group(0) @binding(2) var<storage, read> keys: array<vec4f>;

fn keyAt(row: u32, column: u32) -> vec4f {
  return keys[row * HEAD_DIM4 + column];
}
