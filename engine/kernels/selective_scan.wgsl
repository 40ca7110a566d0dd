// selective_scan: Mamba's recurrence over a chunk, with D = softplus(step): S[i, n] <- exp(-exp(decayLog[i, n]) D_i) S[i, n] + D_i B_n u_i;
//   y_i = (sum_n S[i, n] C_n + skip_i u_i) silu(z_i).
//   u, step  [tokens, channels]; step before the softplus
//   selected [tokens, rank + 2 STATES]: the step's low-rank part, then B, then C
//   uz       [tokens, 2 channels]: the convolution's input, then z
//   decayLog [channels, STATES]
//   skip     [channels]
//   state    [channels, STATES], kept
//   y        [tokens, channels]
// One invocation walks one channel over all tokens with its states in registers; neighbours read the same B and C. The walk is one
// token after another: a chunk is at most 512 long, and channels are thousands.
// Reference: selectiveScan() in reference/recurrentOps.ts.
// Constants: STATES.
struct Params {
  tokens: u32,
  channels: u32,
  rank: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read> step: array<f32>;
@group(0) @binding(3) var<storage, read> selected: array<f32>;
@group(0) @binding(4) var<storage, read> uz: array<f32>;
@group(0) @binding(5) var<storage, read> decayLog: array<f32>;
@group(0) @binding(6) var<storage, read> skip: array<f32>;
@group(0) @binding(7) var<storage, read_write> state: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;

// ln(1 + e^x): WGSL has no log1p, and where e^-|x| is so small that 1 + e^-|x| rounds to 1, it is the result itself.
fn softplus(x: f32) -> f32 {
  let small = exp(-abs(x));
  return max(x, 0.0) + select(log(1.0 + small), small - 0.5 * small * small, small < 1e-3);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let channel = id.x;
  if (channel >= params.channels) {
    return;
  }
  var states: array<f32, STATES>;
  var decay: array<f32, STATES>;
  for (var n = 0u; n < STATES; n++) {
    states[n] = state[channel * STATES + n];
    decay[n] = -exp(decayLog[channel * STATES + n]);
  }
  let direct = skip[channel];
  let selectedRow = params.rank + 2u * STATES;
  for (var t = 0u; t < params.tokens; t++) {
    let at = t * params.channels + channel;
    let input = u[at];
    let length = softplus(step[at]);
    let b = t * selectedRow + params.rank;
    let c = b + STATES;
    var sum = direct * input;
    for (var n = 0u; n < STATES; n++) {
      states[n] = exp(length * decay[n]) * states[n] + length * input * selected[b + n];
      sum += states[n] * selected[c + n];
    }
    let z = uz[t * 2u * params.channels + params.channels + channel];
    y[at] = sum * z / (1.0 + exp(-z));
  }
  for (var n = 0u; n < STATES; n++) {
    state[channel * STATES + n] = states[n];
  }
}
