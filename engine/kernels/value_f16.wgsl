// value_f16: cached values as halves, two in a word; unpacking them needs no f16 feature. Stands in front of a kernel that reads values.
// Constants: HEAD_DIM4.
@group(0) @binding(3) var<storage, read> values: array<vec2u>;

fn valueAt(row: u32, column: u32) -> vec4f {
  let halves = values[row * HEAD_DIM4 + column];
  return vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
