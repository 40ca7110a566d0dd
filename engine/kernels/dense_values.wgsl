// dense_values: whole rows of weights times the values of one slab: out[t, h] = sum_j weights[h, t, j] v[j], over the keys that the slab holds;
//   with `carry` 1 it is added to what `out` has of other slabs.
//   weights [GROUP * kvHeads, tokens, keyCount]: dense_softmax.wgsl
//   out     [tokens, GROUP * kvHeads, HEAD_DIM4] of vec4
//   values  [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab
//   lists   from placesAt on [pages of the context]: where each page lies in the slab, NONE where it lies in another
// One invocation adds up one vec4. Reference: attention() in reference/attend.ts.
// In front of it stands value_<format>.wgsl. Constants: HEAD_DIM4, GROUP, PAGE_TOKENS.
struct Params {
  tokens: u32,
  keyCount: u32,
  kvHeads: u32,
  placesAt: u32,
  carry: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(4) var<storage, read> lists: array<u32>;

const NONE = 0xffffffffu;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let heads = GROUP * params.kvHeads;
  let token = id.y;
  if (id.x >= heads * HEAD_DIM4) {
    return;
  }
  let head = id.x / HEAD_DIM4;
  let column = id.x % HEAD_DIM4;
  let row = (head * params.tokens + token) * params.keyCount;
  let cell = token * heads * HEAD_DIM4 + id.x;
  var sum = vec4f(0.0);
  if (params.carry == 1u) {
    sum = out[cell];
  }
  for (var first = 0u; first < params.keyCount; first += PAGE_TOKENS) {
    let page = lists[params.placesAt + first / PAGE_TOKENS];
    if (page == NONE) {
      continue;
    }
    let cells = (page * params.kvHeads + head / GROUP) * PAGE_TOKENS;
    let keysHere = min(PAGE_TOKENS, params.keyCount - first);
    for (var i = 0u; i < keysHere; i++) {
      sum += weights[row + first + i] * valueAt(cells + i, column);
    }
  }
  out[cell] = sum;
}
