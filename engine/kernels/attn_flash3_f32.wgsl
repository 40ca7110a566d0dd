// attn_flash3_f32: keys and values of attn_flash3 as f32, which tells what 8 bits gain and cost: a part is a vec4. Stands between key_f32 and
// value_f32, and attn_flash3.
alias Part = vec4f;

fn keyPart(row: u32, column: u32) -> Part {
  return keyAt(row, column);
}

fn valuePart(row: u32, column: u32) -> Part {
  return valueAt(row, column);
}

fn keyScale(row: u32) -> f32 {
  return 1.0;
}

fn valueScale(row: u32) -> f32 {
  return 1.0;
}

fn numbers(part: Part) -> vec4f {
  return part;
}
