// matrix_units_loops: what matrix_units_subgroups computes, by plain loops, so that all around it runs on every device. Stands behind
// matrix_units.wgsl.
fn multiply(lane: u32) {
  for (var cell = lane; cell < ROWS * KEYS; cell += LANES) {
    let row = cell / KEYS * HEAD_DIM;
    let key = cell % KEYS * HEAD_DIM;
    var sum = 0.0;
    for (var channel = 0u; channel < HEAD_DIM; channel++) {
      sum += f32(queryElements[row + channel]) * f32(keyElements[key + channel]);
    }
    tileProducts[cell] = sum;
  }
}
