// matmul_input: x [tokens, columns] for columns that are a multiple of 32; stands in front of a kernel that multiplies it.
@group(0) @binding(3) var<storage, read> x: array<vec4f>;

// Inputs 16 part .. 16 part + 15 of one token.
fn inputs16(token: u32, part: u32) -> mat4x4f {
  let at = token * (params.columns >> 2u) + part * 4u;
  return mat4x4f(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}
