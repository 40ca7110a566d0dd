// matrix_q6_k: d * s * (code - 32), with s a signed byte per 16 weights and d per 256.
// Units of low nibbles as in matrix_nibbles, a block of 32 each; then units of two blocks' high pairs of bits, a word per 16 weights:
// bits 8 j + 2 i and 8 j + 2 i + 1 are of code 4 i + j. Five words for eight blocks: 16 signed bytes, and d as f32.
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;

const HAS_OFFSET = false;

fn weights16(row: u32, part: u32) -> Weights {
  let block = part >> 1u;
  let units = params.blocks + (params.blocks >> 1u);
  let low = (codes[place(row, block, units)] >> vec4u((part & 1u) * 4u)) & vec4u(0x0f0f0f0fu);
  let word = codes[place(row, params.blocks + (part >> 2u), units)][part & 3u];
  let bytes = low | (((vec4u(word) >> vec4u(0u, 2u, 4u, 6u)) & vec4u(0x03030303u)) << vec4u(4u));
  let at = place(row, (part >> 4u) * 5u, (params.blocks >> 3u) * 5u);
  let s = signedBytes(scales[at + ((part >> 2u) & 3u) * 32u])[part & 3u];
  let zero = vec4f(32.0);
  let values = mat4x4f(unsignedBytes(bytes.x), unsignedBytes(bytes.y), unsignedBytes(bytes.z), unsignedBytes(bytes.w));
  return Weights(values - mat4x4f(zero, zero, zero, zero), bitcast<f32>(scales[at + 128u]) * s, 0.0);
}
