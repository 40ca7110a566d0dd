// matmul_q8: y[t, o] = sum_k x[t, k] * w[o, k] + bias[o], added to y where accumulate is 1. Writes the columns of one slice of w's rows.
//   x    [tokens, columns / 4] of vec4
//   w      [columns / 4, paddedRows] of u32: four int8 along k, lowest byte first; paddedRows is a multiple of 4
//   scales [columns / 32, paddedRows]: one per block of 32 along k
//   bias [rows of all slices]; read where hasBias is 1
//   y    [tokens, yRow]; this slice's rows go to columns rowStart ..
// One invocation computes 8 tokens x 4 outputs in registers, a workgroup 64 x 32; neighbouring invocations take neighbouring tokens, so
// that they share every load of w. There is no shared-memory tile: on software adapters barriers cost more than they save, and on a
// graphics card the 12 loads per 32 products hit the first-level cache.
// Reference: linear() in reference/ops.ts on rows rounded by formats/q8.ts.
struct Params {
  tokens: u32,
  columns4: u32,
  rowStart: u32,
  rows: u32,
  paddedRows: u32,
  yRow: u32,
  hasBias: u32,
  accumulate: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn unpacked(word: u32) -> vec4f {
  return vec4f((vec4i(bitcast<i32>(word)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u));
}

fn store(token: u32, output: u32, sums: vec4f) {
  if (token >= params.tokens) {
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

fn dots(value: vec4f, w0: vec4f, w1: vec4f, w2: vec4f, w3: vec4f) -> vec4f {
  return vec4f(dot(value, w0), dot(value, w1), dot(value, w2), dot(value, w3));
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let output = (group.x * 8u + lane.y) * 4u;
  let token = group.y * 64u + lane.x;
  if (output >= params.rows) {
    return;
  }
  let last = params.tokens - 1u;
  let x0 = min(token + 0u, last) * params.columns4;
  let x1 = min(token + 8u, last) * params.columns4;
  let x2 = min(token + 16u, last) * params.columns4;
  let x3 = min(token + 24u, last) * params.columns4;
  let x4 = min(token + 32u, last) * params.columns4;
  let x5 = min(token + 40u, last) * params.columns4;
  let x6 = min(token + 48u, last) * params.columns4;
  let x7 = min(token + 56u, last) * params.columns4;
  var sum0 = vec4f(0.0);
  var sum1 = vec4f(0.0);
  var sum2 = vec4f(0.0);
  var sum3 = vec4f(0.0);
  var sum4 = vec4f(0.0);
  var sum5 = vec4f(0.0);
  var sum6 = vec4f(0.0);
  var sum7 = vec4f(0.0);
  for (var k = 0u; k < params.columns4; k++) {
    let at = k * params.paddedRows + output;
    let scaleAt = k / 8u * params.paddedRows + output;
    let w0 = unpacked(w[at]) * scales[scaleAt];
    let w1 = unpacked(w[at + 1u]) * scales[scaleAt + 1u];
    let w2 = unpacked(w[at + 2u]) * scales[scaleAt + 2u];
    let w3 = unpacked(w[at + 3u]) * scales[scaleAt + 3u];
    sum0 += dots(x[x0 + k], w0, w1, w2, w3);
    sum1 += dots(x[x1 + k], w0, w1, w2, w3);
    sum2 += dots(x[x2 + k], w0, w1, w2, w3);
    sum3 += dots(x[x3 + k], w0, w1, w2, w3);
    sum4 += dots(x[x4 + k], w0, w1, w2, w3);
    sum5 += dots(x[x5 + k], w0, w1, w2, w3);
    sum6 += dots(x[x6 + k], w0, w1, w2, w3);
    sum7 += dots(x[x7 + k], w0, w1, w2, w3);
  }
  store(token + 0u, output, sum0);
  store(token + 8u, output, sum1);
  store(token + 16u, output, sum2);
  store(token + 24u, output, sum3);
  store(token + 32u, output, sum4);
  store(token + 40u, output, sum5);
  store(token + 48u, output, sum6);
  store(token + 56u, output, sum7);
}
