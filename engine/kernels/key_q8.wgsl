// key_q8: cached keys as bytes, four in a word, with one half per 32 channels behind the row. Stands in front of a kernel that reads keys.
// Constants: HEAD_DIM4, KEY_ROW (words of a row).
@group(0) @binding(2) var<storage, read> keys: array<u32>;

fn keyAt(row: u32, column: u32) -> vec4f {
  let at = row * KEY_ROW;
  let scale = unpack2x16float(keys[at + HEAD_DIM4 + column / 16u])[column / 8u % 2u];
  let bytes = vec4i(bitcast<i32>(keys[at + column])) << vec4u(24u, 16u, 8u, 0u);
  return scale * vec4f(bytes >> vec4u(24u));
}
