// matmul_input_any: x [tokens, columns] for any number of columns; inputs behind the last are zero, as the weights are that meet them.
@group(0) @binding(3) var<storage, read> x: array<f32>;

fn input(token: u32, column: u32) -> f32 {
  // What lies behind the row may be no number, and zero times that would be none either.
  return select(0.0, x[token * params.columns + min(column, params.columns - 1u)], column < params.columns);
}

fn inputs4(token: u32, column: u32) -> vec4f {
  return vec4f(
    input(token, column),
    input(token, column + 1u),
    input(token, column + 2u),
    input(token, column + 3u),
  );
}

fn inputs16(token: u32, part: u32) -> mat4x4f {
  let column = part * 16u;
  return mat4x4f(
    inputs4(token, column),
    inputs4(token, column + 4u),
    inputs4(token, column + 8u),
    inputs4(token, column + 12u),
  );
}
