// attn_mass: of each row of scores the log-sum-exp, and the share of its softmax that lies on the keys that a pattern shows.
//   scores [heads, samples, stride]: attn_scores.wgsl, of the heads from firstHead on; column 0 is key firstKey
//   lse    [samples, outStride] from outAt on, one per head; kept the same
//   lists  samples of (token, position, first key of the run, 0) from sampleAt on, and the pattern's bits: page_list.wgsl
// A workgroup takes one row: its maximum, then its two sums. Reference: keptShare() in attention/patterns/keptMass.ts.
// In front of it stands page_list.wgsl. Constants: BLOCK_TOKENS, PAGE_TOKENS.
struct Params {
  start: u32,
  samples: u32,
  sampleAt: u32,
  firstHead: u32,
  firstKey: u32,
  stride: u32,
  outAt: u32,
  outStride: u32,
  kvHeads: u32,
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
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> kept: array<f32>;

const LANES = 128u;
const MASKED = -1e30;
var<workgroup> largest: array<f32, 128>;
var<workgroup> sums: array<vec2f, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let sample = group.x;
  let head = params.firstHead + group.y;
  let row = (group.y * params.samples + sample) * params.stride;
  var most = MASKED;
  for (var column = lane; column < params.stride; column += LANES) {
    most = max(most, scores[row + column]);
  }
  largest[lane] = most;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      largest[lane] = max(largest[lane], largest[lane + half]);
    }
    workgroupBarrier();
  }
  let m = largest[0];
  let table = params.sampleAt + 4u * sample;
  let position = lists[table + 1u];
  let near = lists[table + 2u];
  // All of it, and what is seen.
  var sum = vec2f(0.0);
  for (var column = lane; column < params.stride; column += LANES) {
    let score = scores[row + column];
    if (score > MASKED) {
      let weight = exp(score - m);
      sum += vec2f(weight, select(0.0, weight, patternSees(head, position, near, params.firstKey + column)));
    }
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      sums[lane] += sums[lane + half];
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let at = params.outAt + sample * params.outStride + group.y;
    lse[at] = m + log(sums[0].x);
    kept[at] = sums[0].y / sums[0].x;
  }
}
