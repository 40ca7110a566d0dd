// attn_scores: scores of sampled queries of a chunk on the keys of one slab, through one band; what estimates and kept shares are made of.
//   score = cap(q[s, h] . k[j] * scale) - slope[h] * (position[s] - j), as in attn_prefill.wgsl
//   rotated [tokens, row4] of vec4: the first GROUP * kvHeads heads are the queries in the band's positions
//   keys    [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab
//   slopes  [GROUP * kvHeads]: ALiBi, zeros without
//   lists   from sampleAt on [samples] of (token of the chunk, its position, first key of its run, 0); from rangesAt on their ranges; pairs
//           of blocks of keys and where they lie in the slab, from pairsAt + 2 firstVisit on: see page_list.wgsl, whose pattern is not used
//   scores  [heads, samples, stride]: of the heads from firstHead on; column 0 is key firstKey
// Keys outside a query's range become MASKED where `fills` is 1, and are left as they are where it is 0: bands come one after another.
// A workgroup takes one head, one block of keys and 32 samples; each invocation scores 4 samples on 4 keys.
// Reference: attentionRow() in reference/attend.ts before its softmax.
// In front of it stand key_<format>.wgsl and page_list.wgsl. Constants: HEAD_DIM4, GROUP, BLOCK_TOKENS, PAGE_TOKENS.
struct Params {
  start: u32,
  samples: u32,
  sampleAt: u32,
  firstVisit: u32,
  firstHead: u32,
  firstKey: u32,
  stride: u32,
  fills: u32,
  row4: u32,
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
@group(0) @binding(3) var<storage, read> slopes: array<f32>;
@group(0) @binding(5) var<storage, read_write> scores: array<f32>;

// No score of numbers is as low.
const MASKED = -1e30;
// Invocations side by side along the keys of a block, a quarter of which each takes.
const KEY_LANES = 16u;

fn capped(dots: vec4f) -> vec4f {
  let score = dots * params.scale;
  if (params.softcap > 0.0) {
    return params.softcap * tanh(clamp(score / params.softcap, vec4f(-10.0), vec4f(10.0)));
  }
  return score;
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let firstSample = (group.z * 8u + lane / KEY_LANES) * 4u;
  if (firstSample >= params.samples) {
    return;
  }
  let head = params.firstHead + group.y;
  let pairAt = params.pairsAt + 2u * (params.firstVisit + group.x);
  let cells = rowOf(lists[pairAt + 1u] * BLOCK_TOKENS, head / GROUP) + lane % KEY_LANES;
  let key = lists[pairAt] * BLOCK_TOKENS + lane % KEY_LANES;
  // Samples behind the last one repeat it; they are not stored.
  let samples = min(vec4u(firstSample) + vec4u(0u, 1u, 2u, 3u), vec4u(params.samples - 1u));
  var queries: vec4u;
  for (var i = 0u; i < 4u; i++) {
    queries[i] = lists[params.sampleAt + 4u * samples[i]] * params.row4 + head * HEAD_DIM4;
  }
  // Of one key each, a lane for each sample.
  var d0 = vec4f(0.0);
  var d1 = vec4f(0.0);
  var d2 = vec4f(0.0);
  var d3 = vec4f(0.0);
  for (var c = 0u; c < HEAD_DIM4; c++) {
    let q0 = rotated[queries.x + c];
    let q1 = rotated[queries.y + c];
    let q2 = rotated[queries.z + c];
    let q3 = rotated[queries.w + c];
    let k0 = keyAt(cells, c);
    let k1 = keyAt(cells + KEY_LANES, c);
    let k2 = keyAt(cells + 2u * KEY_LANES, c);
    let k3 = keyAt(cells + 3u * KEY_LANES, c);
    d0 += vec4f(dot(q0, k0), dot(q1, k0), dot(q2, k0), dot(q3, k0));
    d1 += vec4f(dot(q0, k1), dot(q1, k1), dot(q2, k1), dot(q3, k1));
    d2 += vec4f(dot(q0, k2), dot(q1, k2), dot(q2, k2), dot(q3, k2));
    d3 += vec4f(dot(q0, k3), dot(q1, k3), dot(q2, k3), dot(q3, k3));
  }
  d0 = capped(d0);
  d1 = capped(d1);
  d2 = capped(d2);
  d3 = capped(d3);
  for (var i = 0u; i < 4u; i++) {
    let sample = firstSample + i;
    if (sample >= params.samples) {
      return;
    }
    let range = params.rangesAt + 4u * sample;
    let place = f32(lists[range + 3u]);
    let row = (group.y * params.samples + sample) * params.stride;
    let dots = vec4f(d0[i], d1[i], d2[i], d3[i]);
    for (var k = 0u; k < 4u; k++) {
      let own = key + k * KEY_LANES;
      if (own >= lists[range] && own < lists[range + 1u]) {
        scores[row + own - params.firstKey] = dots[k] - slopes[head] * (place - f32(own));
      } else if (params.fills == 1u) {
        scores[row + own - params.firstKey] = MASKED;
      }
    }
  }
}
