// ssd_step: Mamba-2's recurrence for one token: S <- exp(s) S + D x Bᵀ; y = S C + skip x.
//   mixed [row] of vec4: x [heads, HEAD_DIM], then B [groups, STATES4] from b4 on and C from c4 on
//   steps [heads] of (D, s)
//   skip  [heads]
//   state [heads, HEAD_DIM, STATES4] of vec4, kept
//   y     [heads, HEAD_DIM]
// One invocation owns one row of one head's state. Reference: ssdScan() in reference/recurrentOps.ts.
// Constants: HEAD_DIM, STATES4.
struct Params {
  heads: u32,
  headsPerGroup: u32,
  b4: u32,
  c4: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mixed: array<vec4f>;
@group(0) @binding(2) var<storage, read> steps: array<vec2f>;
@group(0) @binding(3) var<storage, read> skip: array<f32>;
@group(0) @binding(4) var<storage, read_write> state: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let x = id.x;
  if (x >= params.heads * HEAD_DIM) {
    return;
  }
  let head = x / HEAD_DIM;
  let group = head / params.headsPerGroup * STATES4;
  let step = steps[head];
  let keep = exp(step.y);
  let input = mixed[x / 4u][x % 4u];
  var sum = vec4f(0.0);
  for (var n = 0u; n < STATES4; n++) {
    let value = keep * state[x * STATES4 + n] + step.x * input * mixed[params.b4 + group + n];
    state[x * STATES4 + n] = value;
    sum += value * mixed[params.c4 + group + n];
  }
  y[x] = dot(sum, vec4f(1.0)) + skip[head] * input;
}
