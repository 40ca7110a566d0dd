// silu_mul: y[t, f] = silu(gate[t, f]) * up[t, f] with silu(z) = z / (1 + exp(-z)).
//   gateUp [tokens, 2 * columns4] of vec4: gate, then up
//   y       [tokens, columns4] of vec4
// One invocation writes one vec4. Reference: siluMultiply() in reference/ops.ts.
struct Params {
  columns4: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gateUp: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let token = id.y;
  if (id.x >= params.columns4) {
    return;
  }
  let row = token * 2u * params.columns4;
  let gate = gateUp[row + id.x];
  let up = gateUp[row + params.columns4 + id.x];
  y[token * params.columns4 + id.x] = gate / (1.0 + exp(-gate)) * up;
}
