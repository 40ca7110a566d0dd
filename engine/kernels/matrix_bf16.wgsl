// matrix_bf16: a unit is eight weights, each the upper half of an f32; there are no scales.
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

const HAS_OFFSET = false;

fn four(low: u32, high: u32) -> vec4f {
  return bitcast<vec4f>(vec4u(low << 16u, low & 0xffff0000u, high << 16u, high & 0xffff0000u));
}

fn weights16(row: u32, part: u32) -> Weights {
  let at = place(row, part * 2u, params.blocks * 4u);
  let first = codes[at];
  let second = codes[at + 32u];
  let values = mat4x4f(four(first.x, first.y), four(first.z, first.w), four(second.x, second.y), four(second.z, second.w));
  return Weights(values, 1.0, 0.0);
}
