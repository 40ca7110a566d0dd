// attn_decode: attention of one query token over ranges of what it sees of one slab (split-K); attn_merge joins the ranges.
//   score = cap(q[h] . k[j] * scale) - slope[h] * (position - j), cap(s) = softcap * tanh(s / softcap) where there is a softcap
//   rotated [row4] of vec4: the first GROUP * kvHeads heads are the queries in the band's positions
//   keys, values [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab
//   lists   which keys of the slab to visit and which of them the query sees: page_list.wgsl, with blocks of `unit` keys
//   slopes  [GROUP * kvHeads]: ALiBi, zeros without
//   partOut [splits, GROUP * kvHeads, HEAD_DIM4] of vec4: each range's own softmax result, from split firstSplit on
//   partLse [splits, GROUP * kvHeads]: log of each range's softmax denominator; EMPTY for a range that sees nothing, whose result is 0
// A workgroup takes one key head with the whole group of its query heads, and splitVisits of the visits, 64 keys at a time: each
// invocation scores one key for all heads of the group, then adds P V for its share of (head, column).
// Reference: attention() in reference/attend.ts.
// In front of it stand key_<format>.wgsl, value_<format>.wgsl and page_list.wgsl.
// Constants: HEAD_DIM4, GROUP, ITEMS = ceil(GROUP * HEAD_DIM4 / 64), BLOCK_TOKENS, PAGE_TOKENS.
struct Params {
  start: u32,
  unit: u32,
  splitVisits: u32,
  firstSplit: u32,
  kvHeads: u32,
  scale: f32,
  softcap: f32,
  listHeads: u32,
  rangesAt: u32,
  tilesAt: u32,
  pairsAt: u32,
  columnsAt: u32,
  columnStride: u32,
  diagonalsAt: u32,
  diagonalStride: u32,
  blocksAt: u32,
  blockStride: u32,
  blockWords: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rotated: array<vec4f>;
@group(0) @binding(5) var<storage, read> slopes: array<f32>;
@group(0) @binding(6) var<storage, read_write> partOut: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> partLse: array<f32>;

const LANES = 64u;
const MASKED = -1e30;
const EMPTY = -1e30;
const SCORES = GROUP * LANES;
var<workgroup> scores: array<f32, SCORES>;
var<workgroup> rescale: array<f32, GROUP>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let kvHead = group.y;
  let firstKey = lists[params.rangesAt];
  let lastKey = lists[params.rangesAt + 1u];
  let near = lists[params.rangesAt + 2u];
  let position = f32(lists[params.rangesAt + 3u]);
  let visits = params.tilesAt + kvHead % params.listHeads * 2u;
  let firstVisit = lists[visits] + group.x * params.splitVisits;
  let visitEnd = min(firstVisit + params.splitVisits, lists[visits] + lists[visits + 1u]);
  let patterned = params.columnsAt != NONE || params.diagonalsAt != NONE || params.blocksAt != NONE;
  let query = kvHead * GROUP * HEAD_DIM4;
  let part = (params.firstSplit + group.x) * params.kvHeads * GROUP + kvHead * GROUP;
  var sums: array<vec4f, ITEMS>;
  // Only the first GROUP invocations use these: each owns the softmax state of one head.
  var m = MASKED;
  var l = 0f;

  let keyEnd = visitEnd * params.unit;
  for (var block = firstVisit * params.unit; block < keyEnd; block += LANES) {
    // Lanes behind the last visit repeat its first key and count nothing.
    let at = min(block + lane, keyEnd - 1u);
    let pairAt = params.pairsAt + at / params.unit * 2u;
    let key = lists[pairAt] * params.unit + at % params.unit;
    let row = rowOf(lists[pairAt + 1u] * params.unit + at % params.unit, kvHead);
    let inRange = block + lane < keyEnd && key >= firstKey && key < lastKey;
    for (var h = 0u; h < GROUP; h++) {
      var score = 0f;
      for (var c = 0u; c < HEAD_DIM4; c++) {
        score += dot(rotated[query + h * HEAD_DIM4 + c], keyAt(row, c));
      }
      score *= params.scale;
      if (params.softcap > 0.0) {
        score = params.softcap * tanh(clamp(score / params.softcap, -10.0, 10.0));
      }
      score -= slopes[kvHead * GROUP + h] * (position - f32(key));
      var seen = inRange && key >= near;
      if (patterned && inRange && !seen) {
        seen = patternSees(kvHead * GROUP + h, params.start, near, key);
      }
      scores[h * LANES + lane] = select(MASKED, score, seen);
    }
    workgroupBarrier();

    if (lane < GROUP) {
      var largest = m;
      for (var i = 0u; i < LANES; i++) {
        largest = max(largest, scores[lane * LANES + i]);
      }
      let factor = exp(m - largest);
      var sum = l * factor;
      for (var i = 0u; i < LANES; i++) {
        let score = scores[lane * LANES + i];
        let p = select(exp(score - largest), 0.0, score <= MASKED);
        scores[lane * LANES + i] = p;
        sum += p;
      }
      m = largest;
      l = sum;
      rescale[lane] = factor;
    }
    workgroupBarrier();

    for (var item = 0u; item < ITEMS; item++) {
      let at = min(lane + item * LANES, GROUP * HEAD_DIM4 - 1u);
      let head = at / HEAD_DIM4;
      let column = at % HEAD_DIM4;
      var sum = sums[item] * rescale[head];
      for (var i = block; i < min(block + LANES, keyEnd); i++) {
        let slot = lists[params.pairsAt + i / params.unit * 2u + 1u] * params.unit + i % params.unit;
        sum += scores[head * LANES + i - block] * valueAt(rowOf(slot, kvHead), column);
      }
      sums[item] = sum;
    }
    workgroupBarrier();
  }

  if (lane < GROUP) {
    rescale[lane] = select(1.0 / l, 0.0, l == 0.0);
    partLse[part + lane] = select(m + log(l), EMPTY, l == 0.0);
  }
  workgroupBarrier();
  for (var item = 0u; item < ITEMS; item++) {
    let at = lane + item * LANES;
    if (at < GROUP * HEAD_DIM4) {
      partOut[part * HEAD_DIM4 + at] = sums[item] * rescale[at / HEAD_DIM4];
    }
  }
}
