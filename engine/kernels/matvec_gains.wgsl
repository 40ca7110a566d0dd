// matvec_gains: factors [columns] of the norm in front of matvec, for columns that are a multiple of 32.
@group(0) @binding(6) var<storage, read> gain: array<vec4f>;

fn gains16(part: u32) -> mat4x4f {
  let at = part * 4u;
  return mat4x4f(gain[at], gain[at + 1u], gain[at + 2u], gain[at + 3u]);
}
