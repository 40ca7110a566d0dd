// value_mix: value <- value + (first - value) * sigmoid(share), elementwise in place.
//   value, first, share [tokens, columns4] of vec4
// One invocation does one vec4. Reference: rwkv7Forward() in reference/rwkv7.ts.
struct Params {
  columns4: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> value: array<vec4f>;
@group(0) @binding(2) var<storage, read> first: array<vec4f>;
@group(0) @binding(3) var<storage, read> share: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.columns4) {
    return;
  }
  let at = id.y * params.columns4 + id.x;
  value[at] += (first[at] - value[at]) / (1.0 + exp(-share[at]));
}
