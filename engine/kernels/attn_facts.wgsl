// attn_facts: what each query head does, for sampled queries: sums[s, h] += over the keys it sees of one slab through one band, with
//   p = exp(score - lse): p on the first SINK_KEYS keys, -p log p, and p by distance of key and query in buckets 0, 1, 2-3, 4-7 …
//   queries [slots, heads, HEAD_DIM4] of vec4; lse [slots, heads]: what the tap kept
//   keys    [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab
//   lists   what each sample sees, and where pages lie: attn_pool.wgsl
//   samples [samples] of (slot, position)
//   sums    [samples, heads, 2 + BUCKETS]
// A workgroup takes one sample and one head; each invocation every 64th key, whose sums are then added up.
// Reference: HeadSums in reference/headFacts.ts.
// In front of it stand key_<format>.wgsl, page_list.wgsl and chosen_pages.wgsl. Constants: HEAD_DIM4, BLOCK_TOKENS, PAGE_TOKENS, SINK_KEYS, BUCKETS.
struct Params {
  start: u32,
  firstSample: u32,
  heads: u32,
  kvHeads: u32,
  scale: f32,
  softcap: f32,
  pagesAt: u32,
  chosenAt: u32,
  chosenCount: u32,
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
@group(0) @binding(1) var<storage, read> queries: array<vec4f>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> samples: array<u32>;
@group(0) @binding(6) var<storage, read> slopes: array<f32>;
@group(0) @binding(7) var<storage, read_write> sums: array<f32>;

const LANES = 64u;
const PARTS = LANES * (2u + BUCKETS);
var<workgroup> parts: array<f32, PARTS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let sample = params.firstSample + group.x;
  let head = group.y;
  let width = 2u + BUCKETS;
  for (var i = 0u; i < width; i++) {
    parts[lane * width + i] = 0.0;
  }
  let slot = samples[2u * sample];
  let position = samples[2u * sample + 1u];
  let query = (slot * params.heads + head) * HEAD_DIM4;
  let logSum = lse[slot * params.heads + head];
  let range = params.rangesAt + 4u * sample;
  let near = lists[range + 2u];
  let place = f32(lists[range + 3u]);
  let kvHead = head * params.kvHeads / params.heads;
  for (var key = lists[range] + lane; key < lists[range + 1u]; key += LANES) {
    let page = lists[params.pagesAt + key / PAGE_TOKENS];
    if (page == NONE || !sampleSees(sample, head, kvHead, position, near, key)) {
      continue;
    }
    let cell = rowOf(page * PAGE_TOKENS + key % PAGE_TOKENS, kvHead);
    var score = 0f;
    for (var c = 0u; c < HEAD_DIM4; c++) {
      score += dot(queries[query + c], keyAt(cell, c));
    }
    score *= params.scale;
    if (params.softcap > 0.0) {
      score = params.softcap * tanh(clamp(score / params.softcap, -10.0, 10.0));
    }
    let logP = score - slopes[head] * (place - f32(key)) - logSum;
    let p = exp(logP);
    if (key < SINK_KEYS) {
      parts[lane * width] += p;
    }
    parts[lane * width + 1u] -= p * logP;
    parts[lane * width + 2u + min(32u - countLeadingZeros(position - key), BUCKETS - 1u)] += p;
  }
  workgroupBarrier();
  for (var i = lane; i < width; i += LANES) {
    var sum = 0f;
    for (var other = 0u; other < LANES; other++) {
      sum += parts[other * width + i];
    }
    sums[(sample * params.heads + head) * width + i] += sum;
  }
}
