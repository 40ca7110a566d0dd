// token_shift: y[t] = x[t] + (x[t - 1] - x[t]) * share, where `previous` is x[-1].
//   x        [tokens, columns4] of vec4
//   previous [columns4] of vec4
//   share      [columns4] of vec4
//   y        [tokens, columns4] of vec4
// One invocation writes one vec4. Reference: tokenShift() in reference/recurrentOps.ts.
struct Params {
  columns4: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> previous: array<vec4f>;
@group(0) @binding(3) var<storage, read> share: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let column = id.x;
  let token = id.y;
  if (column >= params.columns4) {
    return;
  }
  let at = token * params.columns4 + column;
  var before = previous[column];
  if (token > 0u) {
    before = x[at - params.columns4];
  }
  y[at] = x[at] + (before - x[at]) * share[column];
}
