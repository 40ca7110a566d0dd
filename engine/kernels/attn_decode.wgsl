// attn_decode: attention of one query token over one range of a band's keys (split-K); attn_merge joins the ranges.
//   score = cap(q[h] . k[j] * scale) - slope[h] * (position - j), cap(s) = softcap * tanh(s / softcap) where there is a softcap
//   rotated [row4] of vec4: the first GROUP * kvHeads heads are the queries in the band's positions
//   keys, values [physical pages, kvHeads, PAGE_TOKENS, HEAD_DIM4] of vec4, read through pages [logical pages]
//   slopes  [GROUP * kvHeads]: ALiBi, zeros without
//   partOut [splits, GROUP * kvHeads, HEAD_DIM4] of vec4: each range's own softmax result, from split firstSplit on
//   partLse [splits, GROUP * kvHeads]: log of each range's softmax denominator
// A workgroup takes one key head with the whole group of its query heads, and keysPerSplit of the keys firstKey .. keyEnd - 1 in blocks of 64:
// each invocation scores one key for all heads of the group, then adds P V for its share of (head, column). Every range holds a key.
// Reference: attention() in reference/attend.ts.
// Constants: HEAD_DIM4, GROUP, ITEMS = ceil(GROUP * HEAD_DIM4 / 64), PAGE_TOKENS.
struct Params {
  position: u32,
  firstKey: u32,
  keyEnd: u32,
  keysPerSplit: u32,
  firstSplit: u32,
  kvHeads: u32,
  scale: f32,
  softcap: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rotated: array<vec4f>;
@group(0) @binding(2) var<storage, read> keys: array<vec4f>;
@group(0) @binding(3) var<storage, read> values: array<vec4f>;
@group(0) @binding(4) var<storage, read> pages: array<u32>;
@group(0) @binding(5) var<storage, read> slopes: array<f32>;
@group(0) @binding(6) var<storage, read_write> partOut: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> partLse: array<f32>;

const LANES = 64u;
const MASKED = -1e30;
const SCORES = GROUP * LANES;
var<workgroup> scores: array<f32, SCORES>;
var<workgroup> rescale: array<f32, GROUP>;

fn keyCell(key: u32, kvHead: u32) -> u32 {
  return ((pages[key / PAGE_TOKENS] * params.kvHeads + kvHead) * PAGE_TOKENS + key % PAGE_TOKENS) * HEAD_DIM4;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let kvHead = group.y;
  let first = params.firstKey + group.x * params.keysPerSplit;
  let end = min(first + params.keysPerSplit, params.keyEnd);
  let query = kvHead * GROUP * HEAD_DIM4;
  let part = (params.firstSplit + group.x) * params.kvHeads * GROUP + kvHead * GROUP;
  var sums: array<vec4f, ITEMS>;
  // Only the first GROUP invocations use these: each owns the softmax state of one head.
  var m = MASKED;
  var l = 0f;

  for (var block = first; block < end; block += LANES) {
    let key = block + lane;
    let cell = keyCell(min(key, end - 1u), kvHead);
    for (var h = 0u; h < GROUP; h++) {
      var score = 0f;
      for (var c = 0u; c < HEAD_DIM4; c++) {
        score += dot(rotated[query + h * HEAD_DIM4 + c], keys[cell + c]);
      }
      score *= params.scale;
      if (params.softcap > 0.0) {
        score = params.softcap * tanh(clamp(score / params.softcap, -10.0, 10.0));
      }
      score -= slopes[kvHead * GROUP + h] * (f32(params.position) - f32(key));
      scores[h * LANES + lane] = select(MASKED, score, key < end);
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
        let p = exp(scores[lane * LANES + i] - largest);
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
      for (var i = 0u; i < min(LANES, end - block); i++) {
        sum += scores[head * LANES + i] * values[keyCell(block + i, kvHead) + column];
      }
      sums[item] = sum;
    }
    workgroupBarrier();
  }

  if (lane < GROUP) {
    rescale[lane] = 1.0 / l;
    partLse[part + lane] = m + log(l);
  }
  workgroupBarrier();
  for (var item = 0u; item < ITEMS; item++) {
    let at = lane + item * LANES;
    if (at < GROUP * HEAD_DIM4) {
      partOut[part * HEAD_DIM4 + at] = sums[item] * rescale[at / HEAD_DIM4];
    }
  }
}
