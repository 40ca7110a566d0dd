// activate: x <- tanh(x) for kind 0, 1 / (1 + exp(-x)) for 1, max(x, 0)^2 for 2, elementwise in place.
//   x [count]
// One invocation does one number of each STRIDE. Reference: rwkv7Forward() in reference/rwkv7.ts.
// Constants: STRIDE.
struct Params {
  count: u32,
  kind: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let at = id.y * STRIDE + id.x;
  if (at >= params.count) {
    return;
  }
  let value = x[at];
  if (params.kind == 0u) {
    // Beyond 15 it is 1 in f32, and some drivers make NaN of large arguments.
    x[at] = tanh(clamp(value, -15.0, 15.0));
  } else if (params.kind == 1u) {
    x[at] = 1.0 / (1.0 + exp(-value));
  } else {
    let positive = max(value, 0.0);
    x[at] = positive * positive;
  }
}
