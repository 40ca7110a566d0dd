// matmul_direct: the same as matmul_tiled without workgroup memory, for software adapters, where barriers cost more than tiles save:
// y[t, o] = sum_k x[t, k] * w[o, k] + bias[o], added to y where accumulate is 1. Writes the columns of one slice of w's rows.
//   codes, scales  w [rows, columns] as the file matrix_<format>.wgsl in front of this one says; x as matmul_input says
//   bias [rows of all slices]; read where hasBias is 1
//   y    [tokens, yRow]; this slice's rows go to columns rowStart ..
// One invocation computes 8 tokens x 4 outputs in registers, a workgroup 64 x 32; neighbouring invocations take neighbouring tokens, so
// that they share every load of w.
// Reference: linear() in reference/ops.ts on the weights that formats/decode.ts makes of the same numbers.
struct Params {
  tokens: u32,
  columns: u32,
  blocks: u32,
  rowStart: u32,
  rows: u32,
  yRow: u32,
  hasBias: u32,
  accumulate: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn store(token: u32, output: u32, sums: vec4f) {
  if (token >= params.tokens || output >= params.rows) {
    return;
  }
  for (var i = 0u; i < min(4u, params.rows - output); i++) {
    let column = params.rowStart + output + i;
    let cell = token * params.yRow + column;
    var value = sums[i];
    if (params.hasBias == 1u) {
      value += bias[column];
    }
    if (params.accumulate == 1u) {
      value += y[cell];
    }
    y[cell] = value;
  }
}

fn row16(row: u32, part: u32) -> mat4x4f {
  let w = weights16(row, part);
  let offset = vec4f(w.offset);
  return w.codes * w.scale + mat4x4f(offset, offset, offset, offset);
}

fn dot16(a: mat4x4f, b: mat4x4f) -> f32 {
  return dot(a[0], b[0]) + dot(a[1], b[1]) + dot(a[2], b[2]) + dot(a[3], b[3]);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let output = (group.x * 8u + lane.y) * 4u;
  let token = group.y * 64u + lane.x;
  if (output >= params.rows) {
    return;
  }
  let lastToken = params.tokens - 1u;
  let lastRow = params.rows - 1u;
  var sums: array<vec4f, 8>;
  for (var part = 0u; part < params.blocks * 2u; part++) {
    let w0 = row16(output, part);
    let w1 = row16(min(output + 1u, lastRow), part);
    let w2 = row16(min(output + 2u, lastRow), part);
    let w3 = row16(min(output + 3u, lastRow), part);
    for (var i = 0u; i < 8u; i++) {
      let values = inputs16(min(token + i * 8u, lastToken), part);
      sums[i] += vec4f(dot16(values, w0), dot16(values, w1), dot16(values, w2), dot16(values, w3));
    }
  }
  for (var i = 0u; i < 8u; i++) {
    store(token + i * 8u, output, sums[i]);
  }
}
