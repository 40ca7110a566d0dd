// matvec_floats in front of matvec: products in f32. x [columns] as matmul_input says, gain [columns] as matvec_gains says.

fn dot16(a: mat4x4f, b: mat4x4f) -> f32 {
  return dot(a[0], b[0]) + dot(a[1], b[1]) + dot(a[2], b[2]) + dot(a[3], b[3]);
}

// sums: of the output, of the row that its gate opens, and of squares.
fn addPart(sums: vec3f, row: u32, part: u32) -> vec3f {
  var values = inputs16(0u, part);
  var added = sums;
  if (NORM == 1u) {
    added.z += dot16(values, values);
    let gains = gains16(part);
    values = mat4x4f(values[0] * gains[0], values[1] * gains[1], values[2] * gains[2], values[3] * gains[3]);
  }
  let w = weights16(row, part);
  added.x += w.scale * dot16(w.codes, values);
  var total = 0.0;
  if (HAS_OFFSET) {
    total = dot(values[0] + values[1] + values[2] + values[3], vec4f(1.0));
    added.x += w.offset * total;
  }
  if (GATED == 1u) {
    let opened = weights16(row + (params.rows >> 1u), part);
    added.y += opened.scale * dot16(opened.codes, values) + opened.offset * total;
  }
  return added;
}

// The mean of squares rides along in the same sums, so that the norm costs no dispatch and no barrier.
fn addBlock(sums: vec3f, row: u32, block: u32) -> vec3f {
  return addPart(addPart(sums, row, block * 2u), row, block * 2u + 1u);
}
