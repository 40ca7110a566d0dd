// matrix_q8_0: blocks of 32 signed bytes and one binary16 scale. A unit is 16 codes; a word of scales is those of two blocks.
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

const HAS_OFFSET = false;

// 16 codes as signed bytes, and scale and offset of their block: what integer products are made of.
fn bytes16(row: u32, part: u32) -> vec4u {
  return codes[place(row, part, params.blocks * 2u)];
}

fn scaleAndOffset(row: u32, block: u32) -> vec2f {
  return vec2f(half(scales[place(row, block >> 1u, (params.blocks + 1u) >> 1u)], block), 0.0);
}

fn weights16(row: u32, part: u32) -> Weights {
  let unit = bytes16(row, part);
  let values = mat4x4f(signedBytes(unit.x), signedBytes(unit.y), signedBytes(unit.z), signedBytes(unit.w));
  return Weights(values, scaleAndOffset(row, part >> 1u).x, 0.0);
}
