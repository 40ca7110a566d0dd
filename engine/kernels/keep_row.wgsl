// keep_row: kept = x[row].
//   x    [rows, columns4] of vec4
//   kept [columns4] of vec4
// One invocation copies one vec4. A kernel and not a copy, because a copy would end the pass. Reference: keepLast() in reference/rwkv7.ts.
struct Params {
  columns4: u32,
  row: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> kept: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.columns4) {
    kept[id.x] = x[params.row * params.columns4 + id.x];
  }
}
