// matrix: where the parts of a weight matrix lie, and how its integers are unpacked; in front of a file matrix_<format>.wgsl, which adds
// weights16: 16 weights of one row that lie behind each other along k. Both stand in front of every kernel that reads matrices.
// Rows are in panels of 32. In a panel, neighbouring rows lie beside each other, so that neighbouring invocations read neighbouring words:
//   codes  [panels, units, 32] of vec4u   (what a unit holds is said by the format)
//   scales [panels, words, 32] of u32
// A row is padded to `params.blocks` blocks of 32 weights, and a matrix to whole panels; what pads is zero.

struct Weights {
  // Weight i is codes[i / 4][i % 4] * scale + offset.
  codes: mat4x4f,
  scale: f32,
  offset: f32,
}

fn place(row: u32, index: u32, perRow: u32) -> u32 {
  return ((row >> 5u) * perRow + index) * 32u + (row & 31u);
}

// The two binary16 of a word, exactly: not every device keeps the smallest ones when it unpacks them itself.
fn halves(word: u32) -> vec2f {
  if (HALVES_BY_INTEGERS == 0u) {
    return unpack2x16float(word);
  }
  let bits = vec2u(word & 0xffffu, word >> 16u);
  let exponent = (bits >> vec2u(10u)) & vec2u(31u);
  let normal = bitcast<vec2f>(((bits & vec2u(0x7fffu)) << vec2u(13u)) + vec2u(0x38000000u));
  let small = vec2f(bits & vec2u(0x3ffu)) * 5.9604644775390625e-8;
  let magnitude = select(normal, small, exponent == vec2u(0u));
  return select(magnitude, -magnitude, (bits & vec2u(0x8000u)) != vec2u(0u));
}

fn half(word: u32, second: u32) -> f32 {
  return halves(word)[second & 1u];
}

fn unsignedBytes(word: u32) -> vec4f {
  return vec4f((vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u));
}

fn signedBytes(word: u32) -> vec4f {
  return vec4f((vec4i(bitcast<i32>(word)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u));
}
