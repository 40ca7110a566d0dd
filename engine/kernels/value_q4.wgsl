// value_q4: cached values as nibbles around 8, eight in a word, with one half per 32 channels behind the row. Stands in front of a kernel
// that reads values.
// Constants: HEAD_DIM4, VALUE_ROW (words of a row).
@group(0) @binding(3) var<storage, read> values: array<u32>;

fn valueAt(row: u32, column: u32) -> vec4f {
  let at = row * VALUE_ROW;
  let scale = unpack2x16float(values[at + (HEAD_DIM4 + 1u) / 2u + column / 16u])[column / 8u % 2u];
  let nibbles = (vec4u(values[at + column / 2u]) >> (vec4u(0u, 4u, 8u, 12u) + column % 2u * 16u)) & vec4u(15u);
  return scale * (vec4f(nibbles) - 8.0);
}
