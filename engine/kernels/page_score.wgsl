// page_score: for one decoded token and every page of UNIT keys of one slab, a bound on the scores of the page's keys (Quest, arXiv 2406.10774):
//   score[g, p] = max over the heads h of kv head g of scale * sum_c max(q[h, c] least[p, c], q[h, c] most[p, c]) - slope[h] * (position - n)
//   with n the page's last key that the band shows; UNSEEN where it shows none of them.
//   rotated of vec4: from queryAt on GROUP * kvHeads heads, the queries in the band's positions
//   bounds  [kvHeads, 2, HEAD_DIM4, stride] of vec4: page_bounds.wgsl
//   slopes  [GROUP * kvHeads]: ALiBi, zeros without
//   scores  [kvHeads, scoreStride]: of all pages of the context; the slab's begin at firstPage. With `merge` 1 the larger one stays there, so
//           that several bands of keys count as the best of them
// One invocation scores one page for one kv head: neighbours read neighbouring columns. Reference: pageScores() in attention/patterns/quest.ts.
// Constants: HEAD_DIM4, GROUP, UNIT.
struct Params {
  queryAt: u32,
  pages: u32,
  firstPage: u32,
  firstKey: u32,
  keyEnd: u32,
  position: u32,
  stride: u32,
  scoreStride: u32,
  merge: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rotated: array<vec4f>;
@group(0) @binding(2) var<storage, read> bounds: array<vec4f>;
@group(0) @binding(3) var<storage, read> slopes: array<f32>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;

// Below every score of numbers.
const UNSEEN = -3e38;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.pages) {
    return;
  }
  let kvHead = id.y;
  let first = (params.firstPage + id.x) * UNIT;
  let cell = kvHead * params.scoreStride + params.firstPage + id.x;
  let before = select(UNSEEN, scores[cell], params.merge == 1u);
  if (first >= params.keyEnd || first + UNIT <= params.firstKey) {
    scores[cell] = before;
    return;
  }
  var sums: array<f32, GROUP>;
  let column = kvHead * 2u * HEAD_DIM4 * params.stride + id.x;
  for (var c = 0u; c < HEAD_DIM4; c++) {
    let least = bounds[column + c * params.stride];
    let most = bounds[column + (HEAD_DIM4 + c) * params.stride];
    for (var h = 0u; h < GROUP; h++) {
      let query = rotated[params.queryAt + (kvHead * GROUP + h) * HEAD_DIM4 + c];
      sums[h] += dot(max(query * least, query * most), vec4f(1.0));
    }
  }
  let distance = f32(params.position) - f32(min(params.keyEnd, first + UNIT) - 1u);
  var best = before;
  for (var h = 0u; h < GROUP; h++) {
    best = max(best, sums[h] * params.scale - slopes[kvHead * GROUP + h] * distance);
  }
  scores[cell] = best;
}
