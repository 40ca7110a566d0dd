// key_mix: k'[t] = (1 - g) * k[t] + g * before[t] with g = sigmoid(gate), in place, on raw keys: key_shift for tokens that do not follow
// each other, as those of a ring's ranks do not.
//   qkv    [tokens, row4] of vec4; keys begin at keyOffset4 and are kvWidth4 wide
//   gate   [kvWidth4] of vec4 (the model's k_shift)
//   before [tokens, kvWidth4] of vec4: the raw key in front of each, zeros in front of the first of all
// One invocation mixes one vec4. Reference: keyMix() in reference/ops.ts.
struct Params {
  row4: u32,
  keyOffset4: u32,
  kvWidth4: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> gate: array<vec4f>;
@group(0) @binding(3) var<storage, read> before: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.kvWidth4) {
    return;
  }
  let g = 1.0 / (1.0 + exp(-gate[id.x]));
  let cell = id.y * params.row4 + params.keyOffset4 + id.x;
  qkv[cell] = (1.0 - g) * qkv[cell] + g * before[id.y * params.kvWidth4 + id.x];
}
