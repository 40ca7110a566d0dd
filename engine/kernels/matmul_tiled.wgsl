// matmul_tiled: y[t, o] = sum_k x[t, k] * w[o, k] + bias[o], added to y where accumulate is 1. Writes the columns of one slice of w's rows.
//   codes, scales  w [rows, columns] as the file matrix_<format>.wgsl in front of this one says; x as matmul_input says
//   bias [rows of all slices]; read where hasBias is 1
//   y    [tokens, yRow]; this slice's rows go to columns rowStart ..
// A workgroup computes TOKENS tokens (64, or 16 where there are few) x 64 outputs, 32 columns at a time: its invocations turn 16 weights
// of one row into f32 and fetch 16 inputs of one token each, into two tiles of workgroup memory (at most 8 KiB each); then each computes
// TOKENS / 8 tokens x 4 outputs in registers. So a weight is dequantised once per 64 tokens, and 12 reads of tiles feed 128
// multiplications.
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

var<workgroup> inputs: array<array<vec4f, TOKENS>, 8>;
var<workgroup> weights: array<array<vec4f, 64>, 8>;

fn store(token: u32, output: u32, value: f32) {
  if (token >= params.tokens || output >= params.rows) {
    return;
  }
  let column = params.rowStart + output;
  let cell = token * params.yRow + column;
  var sum = value;
  if (params.hasBias == 1u) {
    sum += bias[column];
  }
  if (params.accumulate == 1u) {
    sum += y[cell];
  }
  y[cell] = sum;
}

// Neighbouring invocations have neighbouring outputs, so that they write neighbouring cells.
fn storeToken(token: u32, output: u32, sums: vec4f) {
  store(token, output, sums.x);
  store(token, output + 16u, sums.y);
  store(token, output + 32u, sums.z);
  store(token, output + 48u, sums.w);
}

fn products(sums: vec4f, value: vec4f, w: mat4x4f) -> vec4f {
  return sums + value.x * w[0] + value.y * w[1] + value.z * w[2] + value.w * w[3];
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let firstRow = group.x * 64u;
  let firstToken = group.y * TOKENS;
  // What this invocation fetches: half a block of one row and of one token. Rows and tokens behind the last are computed and not stored.
  let half = lane >> 6u;
  let item = lane & 63u;
  let row = min(firstRow + item, params.rows - 1u);
  let token = min(firstToken + (item & (TOKENS - 1u)), params.tokens - 1u);
  // What it computes: outputs output, + 16, + 32, + 48 of TOKENS / 8 tokens from tokens on.
  let output = lane & 15u;
  let tokens = (lane >> 4u) * (TOKENS / 8u);
  var sums0 = vec4f(0.0);
  var sums1 = vec4f(0.0);
  var sums2 = vec4f(0.0);
  var sums3 = vec4f(0.0);
  var sums4 = vec4f(0.0);
  var sums5 = vec4f(0.0);
  var sums6 = vec4f(0.0);
  var sums7 = vec4f(0.0);
  for (var block = 0u; block < params.blocks; block++) {
    let part = block * 2u + half;
    let w = weights16(row, part);
    let offset = vec4f(w.offset);
    let values = inputs16(token, part);
    workgroupBarrier();
    let first = half * 4u;
    weights[first][item] = w.codes[0] * w.scale + offset;
    weights[first + 1u][item] = w.codes[1] * w.scale + offset;
    weights[first + 2u][item] = w.codes[2] * w.scale + offset;
    weights[first + 3u][item] = w.codes[3] * w.scale + offset;
    if (item < TOKENS) {
      inputs[first][item] = values[0];
      inputs[first + 1u][item] = values[1];
      inputs[first + 2u][item] = values[2];
      inputs[first + 3u][item] = values[3];
    }
    workgroupBarrier();
    for (var k = 0u; k < 8u; k++) {
      let columns = transpose(
        mat4x4f(weights[k][output], weights[k][output + 16u], weights[k][output + 32u], weights[k][output + 48u]),
      );
      sums0 = products(sums0, inputs[k][tokens], columns);
      sums1 = products(sums1, inputs[k][tokens + 1u], columns);
      if (TOKENS == 64u) {
        sums2 = products(sums2, inputs[k][tokens + 2u], columns);
        sums3 = products(sums3, inputs[k][tokens + 3u], columns);
        sums4 = products(sums4, inputs[k][tokens + 4u], columns);
        sums5 = products(sums5, inputs[k][tokens + 5u], columns);
        sums6 = products(sums6, inputs[k][tokens + 6u], columns);
        sums7 = products(sums7, inputs[k][tokens + 7u], columns);
      }
    }
  }
  let at = firstToken + tokens;
  storeToken(at, firstRow + output, sums0);
  storeToken(at + 1u, firstRow + output, sums1);
  if (TOKENS == 64u) {
    storeToken(at + 2u, firstRow + output, sums2);
    storeToken(at + 3u, firstRow + output, sums3);
    storeToken(at + 4u, firstRow + output, sums4);
    storeToken(at + 5u, firstRow + output, sums5);
    storeToken(at + 6u, firstRow + output, sums6);
    storeToken(at + 7u, firstRow + output, sums7);
  }
}
