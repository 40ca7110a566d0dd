// quantize_rows: rows of n in blocks of 32 signed bytes and a scale, for products of integers: scale = max |n| / 127 of the block,
// code = round(n / scale). Where NORM is 1, n = x / sqrt(mean x^2 + eps) * gain, else n = x.
//   x      [tokens, columns / 4] of vec4; columns are a multiple of 32
//   gain   [columns / 4] of vec4; read where NORM is 1
//   codes  [tokens, columns / 16] of vec4u: 16 codes in order
//   scales [tokens, columns / 32] of (scale, scale * sum of the codes)
// A workgroup takes one token; an invocation makes every 64th block.
// Reference: rmsNorm() in reference/ops.ts, then quantizeQ8() in formats/q8.ts, whose scales are rounded to binary16 besides.
struct Params {
  blocks: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> gain: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> codes: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> scales: array<vec2f>;

var<workgroup> squares: array<f32, 64>;

// 1 / sqrt(mean x^2 + eps) of the token, in every lane.
fn normFactor(token: u32, lane: u32) -> f32 {
  let columns4 = params.blocks * 8u;
  var sum = 0.0;
  for (var i = lane; i < columns4; i += 64u) {
    let value = x[token * columns4 + i];
    sum += dot(value, value);
  }
  squares[lane] = sum;
  workgroupBarrier();
  var total = 0.0;
  for (var i = 0u; i < 64u; i++) {
    total += squares[i];
  }
  return inverseSqrt(total / f32(params.blocks * 32u) + params.eps);
}

fn scaled(token: u32, index: u32) -> vec4f {
  let value = x[token * params.blocks * 8u + index];
  if (NORM == 1u) {
    return value * gain[index];
  }
  return value;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let token = group.x;
  var factor = 1.0;
  if (NORM == 1u) {
    factor = normFactor(token, lane);
  }
  for (var block = lane; block < params.blocks; block += 64u) {
    var largest = vec4f(0.0);
    for (var i = 0u; i < 8u; i++) {
      largest = max(largest, abs(scaled(token, block * 8u + i)));
    }
    let step = max(max(largest.x, largest.y), max(largest.z, largest.w)) / 127.0;
    let inverse = select(0.0, 1.0 / step, step > 0.0);
    var total = vec4i(0);
    var words: array<u32, 8>;
    for (var i = 0u; i < 8u; i++) {
      // The quotient may be a little above 127 by rounding.
      let code = clamp(vec4i(round(scaled(token, block * 8u + i) * inverse)), vec4i(-127), vec4i(127));
      total += code;
      let bytes = bitcast<vec4u>(code) & vec4u(255u);
      words[i] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
    }
    let at = token * params.blocks + block;
    codes[at * 2u] = vec4u(words[0], words[1], words[2], words[3]);
    codes[at * 2u + 1u] = vec4u(words[4], words[5], words[6], words[7]);
    let scale = step * factor;
    scales[at] = vec2f(scale, scale * f32(total.x + total.y + total.z + total.w));
  }
}
