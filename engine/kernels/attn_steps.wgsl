// attn_steps: how much of each query's softmax is seen by patterns of three shapes that grow in steps, all in one pass.
//   scores [heads, samples, stride]: attn_scores.wgsl; column 0 is key firstKey; the samples' positions follow each other from firstPosition on
//   lse    [samples, heads]: attn_mass.wgsl
//   steps  per head [stride] of (step that first shows the key) + 256 (step that first shows the distance), then [queryBlocks, stride /
//          BLOCK_TOKENS] of the step that first shows the block to that block of queries; NEVER where none does
//   seen   [heads, samples, SHAPES, STEPS]: the share that is first seen at that step
// Shapes are A-shapes of BLOCK_TOKENS sinks and a window of BLOCK_TOKENS 2^step, keys with distances, and blocks.
// A workgroup takes one row, 64 keys at a time: each invocation weighs one key, then SHAPES * STEPS of them add up what is theirs.
// Reference: keptShare() in attention/patterns/keptMass.ts of each pattern that searchShapes() in attention/patterns/minference.ts tries.
// Constants: BLOCK_TOKENS.
struct Params {
  heads: u32,
  samples: u32,
  stride: u32,
  firstKey: u32,
  firstPosition: u32,
  queryBlocks: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read> steps: array<u32>;
@group(0) @binding(4) var<storage, read_write> seen: array<f32>;

const SHAPES = 3u;
const STEPS = 16u;
const NEVER = 255u;
var<workgroup> weights: array<f32, 64>;
var<workgroup> first: array<vec3u, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let sample = group.x;
  let head = group.y;
  let position = params.firstPosition + sample;
  let row = (head * params.samples + sample) * params.stride;
  let logSum = lse[sample * params.heads + head];
  let keyBlocks = params.stride / BLOCK_TOKENS;
  let table = head * (params.stride + params.queryBlocks * keyBlocks);
  let blockRow = table + params.stride + (position / BLOCK_TOKENS - params.firstPosition / BLOCK_TOKENS) * keyBlocks;
  var sum = 0.0;
  for (var tile = 0u; tile < keyBlocks; tile++) {
    let column = tile * 64u + lane;
    let key = params.firstKey + column;
    weights[lane] = 0.0;
    first[lane] = vec3u(NEVER);
    if (key <= position) {
      let distance = position - key;
      let doublings = select(firstLeadingBit(distance / BLOCK_TOKENS) + 1u, 0u, distance < BLOCK_TOKENS);
      let byDistance = select(NEVER, steps[table + min(distance, params.stride - 1u)] / 256u, distance < params.stride);
      weights[lane] = exp(scores[row + column] - logSum);
      first[lane] = vec3u(
        select(doublings, 0u, key < BLOCK_TOKENS),
        min(steps[table + column] % 256u, byDistance),
        steps[blockRow + tile],
      );
    }
    workgroupBarrier();
    if (lane < SHAPES * STEPS) {
      for (var i = 0u; i < 64u; i++) {
        sum += select(0.0, weights[i], first[i][lane / STEPS] == lane % STEPS);
      }
    }
    workgroupBarrier();
  }
  if (lane < SHAPES * STEPS) {
    seen[(head * params.samples + sample) * SHAPES * STEPS + lane] = sum;
  }
}
