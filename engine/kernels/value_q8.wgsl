// value_q8: cached values as bytes, four in a word, with one half per 32 channels behind the row. Stands in front of a kernel that reads values.
// Constants: HEAD_DIM4, VALUE_ROW (words of a row).
@group(0) @binding(3) var<storage, read> values: array<u32>;

fn valueAt(row: u32, column: u32) -> vec4f {
  let at = row * VALUE_ROW;
  let scale = unpack2x16float(values[at + HEAD_DIM4 + column / 16u])[column / 8u % 2u];
  let bytes = vec4i(bitcast<i32>(values[at + column])) << vec4u(24u, 16u, 8u, 0u);
  return scale * vec4f(bytes >> vec4u(24u));
}
