// ssd_steps: time steps of Mamba-2 and their decays: D[t, h] = clamp(softplus(x[t, h] + bias[h]), low, high), and s[t, h], the sum of
//   -exp(decayLog[h]) D[j, h] over the tokens j of t's block up to t.
//   x        [tokens, xRow]; the steps of the heads begin at column xColumn
//   bias     [heads]
//   decayLog [heads]
//   steps    [tokens, heads] of (D, s)
// Blocks are `block` tokens long. One invocation walks one head over one block. Reference: ssdChunked() in reference/recurrentOps.ts.
struct Params {
  tokens: u32,
  heads: u32,
  xRow: u32,
  xColumn: u32,
  block: u32,
  low: f32,
  high: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> decayLog: array<f32>;
@group(0) @binding(4) var<storage, read_write> steps: array<vec2f>;

fn softplus(x: f32) -> f32 {
  let small = exp(-abs(x));
  return max(x, 0.0) + select(log(1.0 + small), small - 0.5 * small * small, small < 1e-3);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let head = id.x;
  if (head >= params.heads) {
    return;
  }
  let start = id.y * params.block;
  let end = min(start + params.block, params.tokens);
  let rate = exp(decayLog[head]);
  var sum = 0f;
  for (var t = start; t < end; t++) {
    let raw = x[t * params.xRow + params.xColumn + head] + bias[head];
    let length = clamp(softplus(raw), params.low, params.high);
    sum -= rate * length;
    steps[t * params.heads + head] = vec2f(length, sum);
  }
}
