// matvec_integers in front of matvec: products of integers. xCodes [columns / 16] and xScales [columns / 32] as quantize_rows makes them;
// the matrix's bytes16 and scaleAndOffset are read. The norm, if there is one, was applied before.
@group(0) @binding(3) var<storage, read> xCodes: array<vec4u>;
@group(0) @binding(6) var<storage, read> xScales: array<vec2f>;

fn dot16(a: vec4u, b: vec4u) -> i32 {
  return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

fn rowPart(row: u32, block: u32) -> f32 {
  let sum = dot16(xCodes[block * 2u], bytes16(row, block * 2u)) + dot16(xCodes[block * 2u + 1u], bytes16(row, block * 2u + 1u));
  let w = scaleAndOffset(row, block);
  let x = xScales[block];
  return f32(sum) * (x.x * w.x) + x.y * w.y;
}

fn addBlock(sums: vec3f, row: u32, block: u32) -> vec3f {
  var added = sums;
  added.x += rowPart(row, block);
  if (GATED == 1u) {
    added.y += rowPart(row + (params.rows >> 1u), block);
  }
  return added;
}
