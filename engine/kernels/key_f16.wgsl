// key_f16: cached keys as halves, two in a word; unpacking them needs no f16 feature. Stands in front of a kernel that reads keys.
// Constants: HEAD_DIM4.
@group(0) @binding(2) var<storage, read> keys: array<vec2u>;

fn keyAt(row: u32, column: u32) -> vec4f {
  let halves = keys[row * HEAD_DIM4 + column];
  return vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
