// dense_scores: whole rows of scores, of a chunk of queries and the keys of one slab, as the formula is written (arXiv 1706.03762):
//   scores[h, t, j] = cap(q[t, h] . k[j] * scale) - slope[h] * (position[t] - j), cap(s) = softcap * tanh(s / softcap) where there is a softcap,
//   for every key of the context; dense_softmax masks.
//   rotated [tokens, row4] of vec4: the first GROUP * kvHeads heads are the queries in the band's positions
//   keys    [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab
//   scores  [GROUP * kvHeads, tokens, keyCount]
//   lists   from placesAt on [pages of the context]: where each page lies in the slab, NONE where it lies in another; from rangesAt on
//           [tokens] of (from, to, near, position) as in page_list.wgsl
//   slopes  [GROUP * kvHeads]: ALiBi, zeros without
// One invocation scores one key. Reference: attentionRow() in reference/attend.ts.
// In front of it stands key_<format>.wgsl. Constants: HEAD_DIM4, GROUP, PAGE_TOKENS.
struct Params {
  tokens: u32,
  keyCount: u32,
  kvHeads: u32,
  row4: u32,
  placesAt: u32,
  rangesAt: u32,
  scale: f32,
  softcap: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rotated: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<storage, read> lists: array<u32>;
@group(0) @binding(5) var<storage, read> slopes: array<f32>;

const NONE = 0xffffffffu;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let key = id.x;
  let token = id.y;
  let head = id.z;
  if (key >= params.keyCount) {
    return;
  }
  let page = lists[params.placesAt + key / PAGE_TOKENS];
  if (page == NONE) {
    return;
  }
  let query = token * params.row4 + head * HEAD_DIM4;
  let row = (page * params.kvHeads + head / GROUP) * PAGE_TOKENS + key % PAGE_TOKENS;
  var score = 0f;
  for (var c = 0u; c < HEAD_DIM4; c++) {
    score += dot(rotated[query + c], keyAt(row, c));
  }
  score *= params.scale;
  if (params.softcap > 0.0) {
    score = params.softcap * tanh(clamp(score / params.softcap, -10.0, 10.0));
  }
  let position = f32(lists[params.rangesAt + 4u * token + 3u]);
  scores[(head * params.tokens + token) * params.keyCount + key] = score - slopes[head] * (position - f32(key));
}
