// matvec_gains_any: factors [columns] of the norm in front of matvec, for any number of columns.
@group(0) @binding(6) var<storage, read> gain: array<f32>;

fn gains4(column: u32) -> vec4f {
  let last = params.columns - 1u;
  return vec4f(
    gain[min(column, last)],
    gain[min(column + 1u, last)],
    gain[min(column + 2u, last)],
    gain[min(column + 3u, last)],
  );
}

fn gains16(part: u32) -> mat4x4f {
  let column = part * 16u;
  return mat4x4f(gains4(column), gains4(column + 4u), gains4(column + 8u), gains4(column + 12u));
}
