// value_tile8: cached values as bytes, four in a word, with one scale (f32) for each tile of BLOCK_TOKENS rows of a head: the rows of a head and
// page, then the scales of its tiles (kv-cache/format.ts). Stands in front of a kernel that reads values.
// Constants: HEAD_DIM4, BLOCK_TOKENS, PAGE_TOKENS.
@group(0) @binding(3) var<storage, read> values: array<u32>;

fn valueWord(row: u32, column: u32) -> u32 {
  return values[row / PAGE_TOKENS * (PAGE_TOKENS * HEAD_DIM4 + PAGE_TOKENS / BLOCK_TOKENS) + row % PAGE_TOKENS * HEAD_DIM4 + column];
}

fn valueScale(row: u32) -> f32 {
  let end = row / PAGE_TOKENS * (PAGE_TOKENS * HEAD_DIM4 + PAGE_TOKENS / BLOCK_TOKENS) + PAGE_TOKENS * HEAD_DIM4;
  return bitcast<f32>(values[end + row % PAGE_TOKENS / BLOCK_TOKENS]);
}

fn valueAt(row: u32, column: u32) -> vec4f {
  let bytes = vec4i(bitcast<i32>(valueWord(row, column))) << vec4u(24u, 16u, 8u, 0u);
  return valueScale(row) * vec4f(bytes >> vec4u(24u));
}
