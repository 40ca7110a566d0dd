// matrix_nibbles: codes of four bits, or of five where FIFTH_BITS is 1; it stands in front of the formats that have such codes.
// A unit is a block of 32: bits 8 j + 0 .. 3 of word i are code 4 i + j, and bits 8 j + 4 .. 7 are code 16 + 4 i + j. Behind the units
// of codes come units of four words of fifth bits, a word per block: bit 8 j + i is of code 4 i + j.
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

// 16 codes as bytes, in order.
fn codes16(row: u32, part: u32) -> vec4u {
  let block = part >> 1u;
  let shift = (part & 1u) * 4u;
  let units = params.blocks + FIFTH_BITS * ((params.blocks + 3u) >> 2u);
  let low = (codes[place(row, block, units)] >> vec4u(shift)) & vec4u(0x0f0f0f0fu);
  if (FIFTH_BITS == 0u) {
    return low;
  }
  let word = codes[place(row, params.blocks + (block >> 2u), units)][block & 3u];
  let fifths = (vec4u(word) >> (vec4u(0u, 1u, 2u, 3u) + vec4u(shift))) & vec4u(0x01010101u);
  return low | (fifths << vec4u(4u));
}

fn floats16(bytes: vec4u) -> mat4x4f {
  return mat4x4f(unsignedBytes(bytes.x), unsignedBytes(bytes.y), unsignedBytes(bytes.z), unsignedBytes(bytes.w));
}
