// wkv_prepare: what RWKV-7's recurrence reads, from what was projected, for each token and head:
//   decay <- exp(-e^-0.5 sigmoid(decay)); a = sigmoid(rate); removal = key * removalKey, divided by its length (at least 1e-12);
//   rate <- removal * a; key <- key * (1 + (a - 1) * keyRate).
//   decay, key, rate    [tokens, heads, HEAD_DIM4] of vec4, in place
//   removal             the same, written
//   removalKey, keyRate [heads, HEAD_DIM4] of vec4
// `rows` is tokens times heads. One invocation does one head of one token.
// Reference: wkvDecay() and normalizeHeads() in reference/recurrentOps.ts, rwkv7Forward() in reference/rwkv7.ts.
// Constants: HEAD_DIM4.
struct Params {
  rows: u32,
  heads: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> decay: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> key: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> rate: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> removal: array<vec4f>;
@group(0) @binding(5) var<storage, read> removalKey: array<vec4f>;
@group(0) @binding(6) var<storage, read> keyRate: array<vec4f>;

const SLOWEST = 0.6065306597126334;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.rows) {
    return;
  }
  let row = id.x * HEAD_DIM4;
  let weights = id.x % params.heads * HEAD_DIM4;
  var squares = 0f;
  for (var i = 0u; i < HEAD_DIM4; i++) {
    let raw = key[row + i] * removalKey[weights + i];
    squares += dot(raw, raw);
  }
  let factor = 1.0 / max(sqrt(squares), 1e-12);
  for (var i = 0u; i < HEAD_DIM4; i++) {
    let at = row + i;
    let unit = key[at] * removalKey[weights + i] * factor;
    let a = 1.0 / (1.0 + exp(-rate[at]));
    removal[at] = unit;
    rate[at] = unit * a;
    key[at] *= 1.0 + (a - 1.0) * keyRate[weights + i];
    decay[at] = exp(-SLOWEST / (1.0 + exp(-decay[at])));
  }
}
