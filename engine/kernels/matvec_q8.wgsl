// matvec_q8: parts of matmul_q8 for one token: parts[s, o] = sum_k x[k] * w[o, k] over every splits-th vec4 of k from s on; matvec_fold adds them.
//   x     [columns / 4] of vec4
//   w     [columns / 4, paddedRows] of u32: four int8 along k, lowest byte first
//   scales [columns / 32, paddedRows]
//   parts [splits, rows of all slices]; this slice's rows go to columns rowStart ..
// One invocation sums one part of one output; neighbouring invocations take neighbouring outputs, whose weights lie behind each other.
// Parts are added by another kernel, not in workgroup memory, because barriers are slow on software adapters.
// Reference: linear() in reference/ops.ts on rows rounded by formats/q8.ts.
struct Params {
  columns4: u32,
  rowStart: u32,
  rows: u32,
  paddedRows: u32,
  allRows: u32,
  splits: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read_write> parts: array<f32>;

fn unpacked(word: u32) -> vec4f {
  return vec4f((vec4i(bitcast<i32>(word)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let output = id.x;
  if (output >= params.rows) {
    return;
  }
  var sum = 0f;
  for (var k = id.y; k < params.columns4; k += params.splits) {
    sum += dot(x[k], unpacked(w[k * params.paddedRows + output])) * scales[k / 8u * params.paddedRows + output];
  }
  parts[id.y * params.allRows + params.rowStart + output] = sum;
}
