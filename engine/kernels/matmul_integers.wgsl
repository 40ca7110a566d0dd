// matmul_integers: matmul_tiled with products of integers: y[t, o] = sum_k x[t, k] * w[o, k] + bias[o], added to y where accumulate is 1.
// Writes the columns of one slice of w's rows. x is rounded to 8 bits per block of 32 columns, so the result is not exact.
//   codes, scales    w [rows, columns] as the file matrix_<format>.wgsl in front of this one says, read by bytes16 and scaleAndOffset
//   xCodes, xScales  [tokens, columns / 16] and [tokens, columns / 32] as quantize_rows makes them
//   bias [rows of all slices]; read where hasBias is 1
//   y    [tokens, yRow]; this slice's rows go to columns rowStart ..
// A workgroup computes TOKENS tokens (64, or 16 where there are few) x 64 outputs, a block of 32 columns at a time: its invocations fetch
// 16 codes of one row and of one token each into tiles of workgroup memory, then each computes TOKENS / 8 tokens x 4 outputs in registers.
// Reference: linear() in reference/ops.ts on x rounded block by block.
struct Params {
  tokens: u32,
  blocks: u32,
  rowStart: u32,
  rows: u32,
  yRow: u32,
  hasBias: u32,
  accumulate: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> xCodes: array<vec4u>;
@group(0) @binding(4) var<storage, read> xScales: array<vec2f>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

var<workgroup> inputs: array<array<vec4u, TOKENS>, 2>;
var<workgroup> inputScales: array<vec2f, TOKENS>;
var<workgroup> weights: array<array<vec4u, 64>, 2>;
var<workgroup> weightScales: array<vec2f, 64>;

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

fn dot16(a: vec4u, b: vec4u) -> i32 {
  return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let firstRow = group.x * 64u;
  let firstToken = group.y * TOKENS;
  // What this invocation fetches. Rows and tokens behind the last are computed and not stored.
  let half = lane >> 6u;
  let item = lane & 63u;
  let row = min(firstRow + item, params.rows - 1u);
  let token = min(firstToken + (item & (TOKENS - 1u)), params.tokens - 1u);
  // What it computes: outputs output, + 16, + 32, + 48 of TOKENS / 8 tokens from tokens on.
  let output = lane & 15u;
  let tokens = (lane >> 4u) * (TOKENS / 8u);
  var sums: array<vec4f, TOKENS / 8u>;
  for (var block = 0u; block < params.blocks; block++) {
    let codes16 = bytes16(row, block * 2u + half);
    let values = xCodes[(token * params.blocks + block) * 2u + half];
    workgroupBarrier();
    weights[half][item] = codes16;
    if (half == 0u) {
      weightScales[item] = scaleAndOffset(row, block);
    }
    if (item < TOKENS) {
      inputs[half][item] = values;
      if (half == 1u) {
        inputScales[item] = xScales[token * params.blocks + block];
      }
    }
    workgroupBarrier();
    let s0 = weightScales[output];
    let s1 = weightScales[output + 16u];
    let s2 = weightScales[output + 32u];
    let s3 = weightScales[output + 48u];
    let scale = vec4f(s0.x, s1.x, s2.x, s3.x);
    let offset = vec4f(s0.y, s1.y, s2.y, s3.y);
    let low = array(weights[0][output], weights[0][output + 16u], weights[0][output + 32u], weights[0][output + 48u]);
    let high = array(weights[1][output], weights[1][output + 16u], weights[1][output + 32u], weights[1][output + 48u]);
    for (var i = 0u; i < TOKENS / 8u; i++) {
      let first = inputs[0][tokens + i];
      let second = inputs[1][tokens + i];
      let products = vec4i(
        dot16(first, low[0]) + dot16(second, high[0]),
        dot16(first, low[1]) + dot16(second, high[1]),
        dot16(first, low[2]) + dot16(second, high[2]),
        dot16(first, low[3]) + dot16(second, high[3]),
      );
      let x = inputScales[tokens + i];
      sums[i] += vec4f(products) * (scale * x.x) + offset * x.y;
    }
  }
  for (var i = 0u; i < TOKENS / 8u; i++) {
    let at = firstToken + tokens + i;
    store(at, firstRow + output, sums[i].x);
    store(at, firstRow + output + 16u, sums[i].y);
    store(at, firstRow + output + 32u, sums[i].z);
    store(at, firstRow + output + 48u, sums[i].w);
  }
}
