// key_shift: k'[t] = (1 - g) * k[t] + g * k[t - 1] with g = sigmoid(gate), in place, on raw keys; k[-1] = 0.
//   qkv   [tokens, row4] of vec4; keys begin at keyOffset4 and are kvWidth4 wide
//   gate  [kvWidth4] of vec4 (the model's k_shift)
//   tails [pages, kvWidth4] of vec4: the raw key of the last token written in each page of the cache, by logical page
// One invocation walks one vec4 of channels from the last token to the first, so that k[t - 1] is still raw when it is read.
// Page borders: the raw key in front of the chunk is the tail of its page, because a cache only ever ends at a page border or at
// the last written token. Reference: keyShift() in reference/ops.ts.
// Constants: CUT_TOKENS.
struct Params {
  tokens: u32,
  start: u32,
  row4: u32,
  keyOffset4: u32,
  kvWidth4: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> gate: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> tails: array<vec4f>;

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let channel = id.x;
  if (channel >= params.kvWidth4) {
    return;
  }
  let g = 1.0 / (1.0 + exp(-gate[channel]));
  let column = params.keyOffset4 + channel;
  var before = vec4f(0.0);
  if (params.start > 0u) {
    before = tails[(params.start - 1u) / CUT_TOKENS * params.kvWidth4 + channel];
  }
  var key = qkv[(params.tokens - 1u) * params.row4 + column];
  for (var t = params.tokens; t > 0u; t--) {
    let position = params.start + t - 1u;
    if (t == params.tokens || position % CUT_TOKENS == CUT_TOKENS - 1u) {
      tails[position / CUT_TOKENS * params.kvWidth4 + channel] = key;
    }
    var previous = before;
    if (t > 1u) {
      previous = qkv[(t - 2u) * params.row4 + column];
    }
    qkv[(t - 1u) * params.row4 + column] = (1.0 - g) * key + g * previous;
    key = previous;
  }
}
