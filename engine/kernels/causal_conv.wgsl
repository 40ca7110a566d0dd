// causal_conv: y[t, c] = silu(bias[c] + sum_j weight[c, j] * x[t - TAPS + 1 + j, c]); x before the first token is the tail.
//   x      [tokens, xRow]; the channels begin at column xColumn
//   weight [channels, TAPS]
//   bias   [channels]; read where hasBias is 1
//   tail   [TAPS - 1, channels]: the inputs before the first token, oldest first; where keepTail is 1, those before the next chunk afterwards
//   y      [tokens, channels]
// One invocation walks one channel over CONV_TOKENS tokens with its last TAPS inputs in registers. Only the first block reads the tail
// and only the last one may replace it, so a chunk of several blocks takes two dispatches: the last block by itself, behind the others.
// Reference: causalConv() and siluInPlace() in reference/recurrentOps.ts.
// Constants: TAPS, CONV_TOKENS.
struct Params {
  tokens: u32,
  channels: u32,
  xRow: u32,
  xColumn: u32,
  firstBlock: u32,
  keepTail: u32,
  hasBias: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> tail: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let channel = id.x;
  if (channel >= params.channels) {
    return;
  }
  let start = (params.firstBlock + id.y) * CONV_TOKENS;
  let end = min(start + CONV_TOKENS, params.tokens);
  // Oldest first; the oldest falls out before the first token is read.
  var inputs: array<f32, TAPS>;
  for (var j = 1u; j < TAPS; j++) {
    // Row start - TAPS + j of what begins with the tail, whose TAPS - 1 rows lie in front of token 0.
    let row = start + j - 1u;
    if (row < TAPS - 1u) {
      inputs[j] = tail[row * params.channels + channel];
    } else {
      inputs[j] = x[(row - (TAPS - 1u)) * params.xRow + params.xColumn + channel];
    }
  }
  var first = 0f;
  if (params.hasBias == 1u) {
    first = bias[channel];
  }
  for (var t = start; t < end; t++) {
    var sum = first;
    for (var j = 1u; j < TAPS; j++) {
      inputs[j - 1u] = inputs[j];
      sum += weight[channel * TAPS + j - 1u] * inputs[j];
    }
    let newest = x[t * params.xRow + params.xColumn + channel];
    inputs[TAPS - 1u] = newest;
    sum += weight[channel * TAPS + TAPS - 1u] * newest;
    y[t * params.channels + channel] = sum / (1.0 + exp(-sum));
  }
  if (params.keepTail == 1u) {
    for (var j = 1u; j < TAPS; j++) {
      tail[(j - 1u) * params.channels + channel] = inputs[j];
    }
  }
}
