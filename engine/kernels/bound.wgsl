// bound: keeps numbers in [-limit, limit], in place: x clamped (MPT's clip_qkv), or limit * tanh(x / limit) (softcap of Gemma 2's logits).
//   x [count]
// One invocation bounds every STRIDE-th number, so that any count fits one row of workgroups.
// Reference: clampInPlace() and softcapInPlace() in reference/ops.ts.
// Constants: SOFT (1 for tanh), STRIDE (invocations of the dispatch).
struct Params {
  count: u32,
  limit: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  for (var i = id.x; i < params.count; i += STRIDE) {
    if (SOFT == 1u) {
      // Beyond 10 tanh is 1 in f32; some drivers make NaN of larger arguments.
      x[i] = params.limit * tanh(clamp(x[i] / params.limit, -10.0, 10.0));
    } else {
      x[i] = clamp(x[i], -params.limit, params.limit);
    }
  }
}
