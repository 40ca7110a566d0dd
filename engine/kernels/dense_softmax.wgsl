// dense_softmax: rows of scores become weights where they lie: those of keys that the query does not see are 0.
//   scores [heads, tokens, keyCount]: dense_scores.wgsl
//   lists  from rangesAt on [tokens] of (from, to, near, position): keys from <= j < to are seen
//   lse    [tokens, heads]: log of each row's denominator
// A workgroup takes one row. Reference: softmax() in reference/ops.ts.
struct Params {
  heads: u32,
  keyCount: u32,
  rangesAt: u32,
  tokens: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> scores: array<f32>;
@group(0) @binding(2) var<storage, read> lists: array<u32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;

const LANES = 64u;
const LEAST = -1e30;
var<workgroup> partial: array<f32, LANES>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let token = group.x;
  let head = group.y;
  let row = (head * params.tokens + token) * params.keyCount;
  let first = lists[params.rangesAt + 4u * token];
  let end = lists[params.rangesAt + 4u * token + 1u];
  var largest = LEAST;
  for (var key = first + lane; key < end; key += LANES) {
    largest = max(largest, scores[row + key]);
  }
  partial[lane] = largest;
  workgroupBarrier();
  for (var i = 0u; i < LANES; i++) {
    largest = max(largest, partial[i]);
  }
  workgroupBarrier();

  var sum = 0f;
  for (var key = first + lane; key < end; key += LANES) {
    sum += exp(scores[row + key] - largest);
  }
  partial[lane] = sum;
  workgroupBarrier();
  sum = 0f;
  for (var i = 0u; i < LANES; i++) {
    sum += partial[i];
  }

  for (var key = lane; key < params.keyCount; key += LANES) {
    var weight = 0f;
    if (key >= first && key < end) {
      weight = exp(scores[row + key] - largest) / sum;
    }
    scores[row + key] = weight;
  }
  if (lane == 0u) {
    lse[token * params.heads + head] = largest + log(sum);
  }
}
