// matmul: y[t, o] = sum_k x[t, k] * w[o, k] + bias[o], added to y where accumulate is 1. Writes the columns of one slice of w's rows.
//   x    [tokens, columns / 4] of vec4
//   w    [columns / 4, paddedRows] of vec4 along k; paddedRows is a multiple of 8
//   bias [rows of all slices]; read where hasBias is 1
//   y    [tokens, yRow]; this slice's rows go to columns rowStart ..
// One invocation computes 8 tokens x 8 outputs in registers, a workgroup 64 x 64; neighbouring invocations take neighbouring tokens, so
// that they share every load of w. There is no shared-memory tile: on software adapters barriers cost more than they save, and on a
// graphics card the 16 loads per 64 dot products hit the first-level cache.
// Reference: linear() in reference/ops.ts.
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
@group(0) @binding(2) var<storage, read> w: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

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

fn dots(value: vec4f, w0: vec4f, w1: vec4f, w2: vec4f, w3: vec4f) -> vec4f {
  return vec4f(dot(value, w0), dot(value, w1), dot(value, w2), dot(value, w3));
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let output = (group.x * 8u + lane.y) * 8u;
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
  var low0 = vec4f(0.0);
  var high0 = vec4f(0.0);
  var low1 = vec4f(0.0);
  var high1 = vec4f(0.0);
  var low2 = vec4f(0.0);
  var high2 = vec4f(0.0);
  var low3 = vec4f(0.0);
  var high3 = vec4f(0.0);
  var low4 = vec4f(0.0);
  var high4 = vec4f(0.0);
  var low5 = vec4f(0.0);
  var high5 = vec4f(0.0);
  var low6 = vec4f(0.0);
  var high6 = vec4f(0.0);
  var low7 = vec4f(0.0);
  var high7 = vec4f(0.0);
  for (var k = 0u; k < params.columns4; k++) {
    let at = k * params.paddedRows + output;
    let w0 = w[at];
    let w1 = w[at + 1u];
    let w2 = w[at + 2u];
    let w3 = w[at + 3u];
    let w4 = w[at + 4u];
    let w5 = w[at + 5u];
    let w6 = w[at + 6u];
    let w7 = w[at + 7u];
    let v0 = x[x0 + k];
    low0 += dots(v0, w0, w1, w2, w3);
    high0 += dots(v0, w4, w5, w6, w7);
    let v1 = x[x1 + k];
    low1 += dots(v1, w0, w1, w2, w3);
    high1 += dots(v1, w4, w5, w6, w7);
    let v2 = x[x2 + k];
    low2 += dots(v2, w0, w1, w2, w3);
    high2 += dots(v2, w4, w5, w6, w7);
    let v3 = x[x3 + k];
    low3 += dots(v3, w0, w1, w2, w3);
    high3 += dots(v3, w4, w5, w6, w7);
    let v4 = x[x4 + k];
    low4 += dots(v4, w0, w1, w2, w3);
    high4 += dots(v4, w4, w5, w6, w7);
    let v5 = x[x5 + k];
    low5 += dots(v5, w0, w1, w2, w3);
    high5 += dots(v5, w4, w5, w6, w7);
    let v6 = x[x6 + k];
    low6 += dots(v6, w0, w1, w2, w3);
    high6 += dots(v6, w4, w5, w6, w7);
    let v7 = x[x7 + k];
    low7 += dots(v7, w0, w1, w2, w3);
    high7 += dots(v7, w4, w5, w6, w7);
  }
  store(token + 0u, output, low0);
  store(token + 0u, output + 4u, high0);
  store(token + 8u, output, low1);
  store(token + 8u, output + 4u, high1);
  store(token + 16u, output, low2);
  store(token + 16u, output + 4u, high2);
  store(token + 24u, output, low3);
  store(token + 24u, output + 4u, high3);
  store(token + 32u, output, low4);
  store(token + 32u, output + 4u, high4);
  store(token + 40u, output, low5);
  store(token + 40u, output + 4u, high5);
  store(token + 48u, output, low6);
  store(token + 48u, output + 4u, high6);
  store(token + 56u, output, low7);
  store(token + 56u, output + 4u, high7);
}
