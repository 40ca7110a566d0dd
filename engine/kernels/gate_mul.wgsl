// gate_mul: what the MLP does between its matrices: y[t, f] = act(gate[t, f]) * up[t, f], or act(up[t, f]) where there is no gate.
//   silu(z) = z / (1 + exp(-z)); gelu(z) = z (1 + erf(z / sqrt 2)) / 2; gelu_tanh(z) = z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2
//   gateUp [tokens, columns4] of vec4, gate then up behind each other in each row; without a gate only up
//   y      [tokens, columns4] of vec4
// One invocation writes one vec4. Reference: gateMultiply() in reference/ops.ts.
// Constants: ACTIVATION (0 silu, 1 gelu, 2 gelu_tanh), GATED (0 or 1).
struct Params {
  columns4: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gateUp: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

// Abramowitz and Stegun 7.1.26: off by at most 1.5e-7, the rounding of f32.
fn erf(x: vec4f) -> vec4f {
  let t = 1.0 / (1.0 + 0.3275911 * abs(x));
  let series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(x) * (1.0 - series * exp(-x * x));
}

fn activate(z: vec4f) -> vec4f {
  if (ACTIVATION == 0u) {
    return z / (1.0 + exp(-z));
  }
  if (ACTIVATION == 1u) {
    return 0.5 * z * (1.0 + erf(z * 0.70710678));
  }
  // Beyond 10 tanh is 1 in f32; some drivers make NaN of larger arguments.
  return 0.5 * z * (1.0 + tanh(clamp(0.79788456 * (z + 0.044715 * z * z * z), vec4f(-10.0), vec4f(10.0))));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let token = id.y;
  if (id.x >= params.columns4) {
    return;
  }
  let at = token * params.columns4 + id.x;
  if (GATED == 0u) {
    y[at] = activate(gateUp[at]);
    return;
  }
  let row = token * 2u * params.columns4;
  y[at] = activate(gateUp[row + id.x]) * gateUp[row + params.columns4 + id.x];
}
