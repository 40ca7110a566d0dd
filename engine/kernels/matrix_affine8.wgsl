// matrix_affine8: scale * code + offset for blocks of 32 unsigned bytes. A unit is 16 codes; scale and offset are two words of f32.
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

const HAS_OFFSET = true;

fn weights16(row: u32, part: u32) -> Weights {
  let unit = codes[place(row, part, params.blocks * 2u)];
  let at = place(row, (part >> 1u) * 2u, params.blocks * 2u);
  let values = mat4x4f(unsignedBytes(unit.x), unsignedBytes(unit.y), unsignedBytes(unit.z), unsignedBytes(unit.w));
  return Weights(values, bitcast<f32>(scales[at]), bitcast<f32>(scales[at + 32u]));
}
