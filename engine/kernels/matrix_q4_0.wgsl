// matrix_q4_0 behind matrix_nibbles: scale * (code - 8), with five bits scale * (code - 16) as in Q5_0; a word is the binary16 scales of
// two blocks.
const HAS_OFFSET = false;
const ZERO = f32(8u << FIFTH_BITS);

// Sixteen times code - 8, or eight times code - 16, as signed bytes: the top bit of a code, turned over, becomes the sign.
fn bytes16(row: u32, part: u32) -> vec4u {
  return (codes16(row, part) << vec4u(4u - FIFTH_BITS)) ^ vec4u(0x80808080u);
}

fn blockScale(row: u32, block: u32) -> f32 {
  return half(scales[place(row, block >> 1u, (params.blocks + 1u) >> 1u)], block);
}

fn scaleAndOffset(row: u32, block: u32) -> vec2f {
  return vec2f(blockScale(row, block) * (f32(1u + FIFTH_BITS) / 16.0), 0.0);
}

fn weights16(row: u32, part: u32) -> Weights {
  let zero = vec4f(ZERO);
  let values = floats16(codes16(row, part)) - mat4x4f(zero, zero, zero, zero);
  return Weights(values, blockScale(row, part >> 1u), 0.0);
}
