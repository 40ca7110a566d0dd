// peaks: long chains of fused multiply-adds, eight independent vec4 chains per invocation, which nothing but the arithmetic units can
// slow down. y[i] keeps the compiler from leaving them out. Reference: the same chain in peaks.ts.
struct Params {
  steps: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = vec4f(0.5);
  let added = vec4f(0.25, 0.5, 0.75, 1.0);
  var a = vec4f(f32(id.x & 7u));
  var b = a + 1.0;
  var c = a + 2.0;
  var d = a + 3.0;
  var e = a + 4.0;
  var f = a + 5.0;
  var g = a + 6.0;
  var h = a + 7.0;
  for (var i = 0u; i < params.steps; i++) {
    a = fma(a, factor, added);
    b = fma(b, factor, added);
    c = fma(c, factor, added);
    d = fma(d, factor, added);
    e = fma(e, factor, added);
    f = fma(f, factor, added);
    g = fma(g, factor, added);
    h = fma(h, factor, added);
  }
  y[id.x] = dot(a + b + c + d + e + f + g + h, vec4f(1.0));
}
