// matrix_affine4 behind matrix_nibbles: scale * code + offset for groups of 32 / GROUPS weights. Scale and offset are the halves of one
// word where HALF_PAIRS is 1, else two words of f32.
const HAS_OFFSET = true;

fn groupPair(row: u32, group: u32) -> vec2f {
  let groups = params.blocks * GROUPS;
  if (HALF_PAIRS == 1u) {
    return halves(scales[place(row, group, groups)]);
  }
  let at = place(row, group * 2u, groups * 2u);
  return vec2f(bitcast<f32>(scales[at]), bitcast<f32>(scales[at + 32u]));
}

fn bytes16(row: u32, part: u32) -> vec4u {
  return codes16(row, part);
}

fn scaleAndOffset(row: u32, block: u32) -> vec2f {
  return groupPair(row, block);
}

fn weights16(row: u32, part: u32) -> Weights {
  let pair = groupPair(row, (part * GROUPS) >> 1u);
  return Weights(floats16(codes16(row, part)), pair.x, pair.y);
}
