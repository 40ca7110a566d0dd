// wkv_finish: y <- (norm(y) * weight + bias + (sum_j receptance_j key_j bonus_j) value) * gate for each token and head, the norm by mean
// and variance of the head's own numbers.
//   y, receptance, key, value, gate [tokens, heads, HEAD_DIM4] of vec4; y in place
//   weights [3, heads, HEAD_DIM4] of vec4: weight, bias and bonus
// `rows` is tokens times heads. One invocation does one head of one token.
// Reference: headNorm() in reference/recurrentOps.ts, rwkv7Forward() in reference/rwkv7.ts.
// Constants: HEAD_DIM4.
struct Params {
  rows: u32,
  heads: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<storage, read> receptance: array<vec4f>;
@group(0) @binding(3) var<storage, read> key: array<vec4f>;
@group(0) @binding(4) var<storage, read> value: array<vec4f>;
@group(0) @binding(5) var<storage, read> gate: array<vec4f>;
@group(0) @binding(6) var<storage, read> weights: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.rows) {
    return;
  }
  let row = id.x * HEAD_DIM4;
  let weight = id.x % params.heads * HEAD_DIM4;
  let bias = weight + params.heads * HEAD_DIM4;
  let bonus = bias + params.heads * HEAD_DIM4;
  let count = f32(HEAD_DIM4 * 4u);
  var sum = 0f;
  var share = 0f;
  for (var i = 0u; i < HEAD_DIM4; i++) {
    sum += dot(y[row + i], vec4f(1.0));
    share += dot(receptance[row + i] * key[row + i], weights[bonus + i]);
  }
  let mean = sum / count;
  var squares = 0f;
  for (var i = 0u; i < HEAD_DIM4; i++) {
    let centred = y[row + i] - mean;
    squares += dot(centred, centred);
  }
  let factor = inverseSqrt(squares / count + params.eps);
  for (var i = 0u; i < HEAD_DIM4; i++) {
    let normed = (y[row + i] - mean) * factor * weights[weight + i] + weights[bias + i];
    y[row + i] = (normed + share * value[row + i]) * gate[row + i];
  }
}
