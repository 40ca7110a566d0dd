// attn_flash3_tile8: keys and values of attn_flash3 as they lie in 8 bits: a part is a word of four bytes. Stands between key_tile8 and
// value_tile8, and attn_flash3.
alias Part = u32;

fn keyPart(row: u32, column: u32) -> Part {
  return keyWord(row, column);
}

fn valuePart(row: u32, column: u32) -> Part {
  return valueWord(row, column);
}

fn numbers(part: Part) -> vec4f {
  return vec4f((vec4i(bitcast<i32>(part)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u));
}
