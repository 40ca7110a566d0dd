// key_q4: cached keys as nibbles around 8, eight in a word, with one half per 32 channels behind the row. Stands in front of a kernel
// that reads keys.
// Constants: HEAD_DIM4, KEY_ROW (words of a row).
@group(0) @binding(2) var<storage, read> keys: array<u32>;

fn keyAt(row: u32, column: u32) -> vec4f {
  let at = row * KEY_ROW;
  let scale = unpack2x16float(keys[at + (HEAD_DIM4 + 1u) / 2u + column / 16u])[column / 8u % 2u];
  let nibbles = (vec4u(keys[at + column / 2u]) >> (vec4u(0u, 4u, 8u, 12u) + column % 2u * 16u)) & vec4u(15u);
  return scale * (vec4f(nibbles) - 8.0);
}
