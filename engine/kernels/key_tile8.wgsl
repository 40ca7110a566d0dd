// key_tile8: cached keys as bytes, four in a word, with one scale (f32) for each tile of BLOCK_TOKENS rows of a head: the rows of a head and
// page, then the scales of its tiles (kv-cache/format.ts). Stands in front of a kernel that reads keys.
// Constants: HEAD_DIM4, BLOCK_TOKENS, PAGE_TOKENS.
@group(0) @binding(2) var<storage, read> keys: array<u32>;

fn keyWord(row: u32, column: u32) -> u32 {
  return keys[row / PAGE_TOKENS * (PAGE_TOKENS * HEAD_DIM4 + PAGE_TOKENS / BLOCK_TOKENS) + row % PAGE_TOKENS * HEAD_DIM4 + column];
}

fn keyScale(row: u32) -> f32 {
  let end = row / PAGE_TOKENS * (PAGE_TOKENS * HEAD_DIM4 + PAGE_TOKENS / BLOCK_TOKENS) + PAGE_TOKENS * HEAD_DIM4;
  return bitcast<f32>(keys[end + row % PAGE_TOKENS / BLOCK_TOKENS]);
}

fn keyAt(row: u32, column: u32) -> vec4f {
  let bytes = vec4i(bitcast<i32>(keyWord(row, column))) << vec4u(24u, 16u, 8u, 0u);
  return keyScale(row) * vec4f(bytes >> vec4u(24u));
}
