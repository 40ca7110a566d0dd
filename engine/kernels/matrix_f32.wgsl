// matrix_f32: a unit is four weights; there are no scales.
@group(0) @binding(1) var<storage, read> codes: array<vec4f>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

const HAS_OFFSET = false;

fn weights16(row: u32, part: u32) -> Weights {
  let at = place(row, part * 4u, params.blocks * 8u);
  return Weights(mat4x4f(codes[at], codes[at + 32u], codes[at + 64u], codes[at + 96u]), 1.0, 0.0);
}
