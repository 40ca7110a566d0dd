// matrix_units_subgroups: products of attn_flash3_matrices by subgroup matrices, the matrix units of a graphics card:
//   tileProducts [ROWS, KEYS] = queryElements [ROWS, HEAD_DIM] x transposed keyElements [KEYS, HEAD_DIM], summed in f32
// Each subgroup makes blocks of UNIT_ROWS rows and UNIT_KEYS keys, UNIT_DEPTH channels at a time, and one block after the other.
// Stands behind matrix_units.wgsl. Reference: flash3Attention() in reference/flash3.ts.
const BLOCKS = ROWS / UNIT_ROWS * (KEYS / UNIT_KEYS);
const SUBGROUPS = LANES / SUBGROUP;

// All invocations of a subgroup have the same block, which the analysis cannot know.
@diagnostic(off, chromium.subgroup_matrix_uniformity)
fn multiply(lane: u32) {
  for (var turn = 0u; turn < BLOCKS / SUBGROUPS; turn++) {
    let block = turn * SUBGROUPS + lane / SUBGROUP;
    let row = block / (KEYS / UNIT_KEYS) * UNIT_ROWS;
    let key = block % (KEYS / UNIT_KEYS) * UNIT_KEYS;
    var sums = subgroup_matrix_result<f32, UNIT_KEYS, UNIT_ROWS>();
    for (var channel = 0u; channel < HEAD_DIM; channel += UNIT_DEPTH) {
      let left = subgroupMatrixLoad<subgroup_matrix_left<Element, UNIT_DEPTH, UNIT_ROWS>>(
        &queryElements, row * HEAD_DIM + channel, false, HEAD_DIM);
      let right = subgroupMatrixLoad<subgroup_matrix_right<Element, UNIT_KEYS, UNIT_DEPTH>>(
        &keyElements, key * HEAD_DIM + channel, true, HEAD_DIM);
      sums = subgroupMatrixMultiplyAccumulate(left, right, sums);
    }
    subgroupMatrixStore(&tileProducts, row * KEYS + key, sums, false, KEYS);
  }
}
