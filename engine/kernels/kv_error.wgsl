// kv_error: how far cached keys and values are from what was put there: sums[layer] += (sum (k - k')^2, sum k^2, sum (v - v')^2, sum v^2) over
//   up to 64 tokens of a chunk, evenly spread.
//   rotated [tokens, row4] of vec4: qHeads query heads, then the keys as they were put; qkv [tokens, qHeads + 2 * kvHeads, HEAD_DIM4]
//   keys, values [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab; lists from slotsAt on: kv_put.wgsl
//   sums    [layers]
// One workgroup; an invocation takes one token. Reference: roundRow() in kv-cache/format.ts.
// In front of it stand key_<format>.wgsl and value_<format>.wgsl. Constants: HEAD_DIM4, BLOCK_TOKENS, PAGE_TOKENS.
struct Params {
  tokens: u32,
  qHeads: u32,
  kvHeads: u32,
  row4: u32,
  slotsAt: u32,
  layer: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rotated: array<vec4f>;
@group(0) @binding(4) var<storage, read> lists: array<u32>;
@group(0) @binding(5) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> sums: array<vec4f>;

const ELSEWHERE = 0xffffffffu;
var<workgroup> parts: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  let count = min(params.tokens, 64u);
  let token = min(lane * params.tokens / count, params.tokens - 1u);
  let slot = lists[params.slotsAt + token];
  var sum = vec4f(0.0);
  if (lane < count && slot != ELSEWHERE) {
    for (var head = 0u; head < params.kvHeads; head++) {
      let row = (slot / PAGE_TOKENS * params.kvHeads + head) * PAGE_TOKENS + slot % PAGE_TOKENS;
      let key = token * params.row4 + (params.qHeads + head) * HEAD_DIM4;
      let value = (token * (params.qHeads + 2u * params.kvHeads) + params.qHeads + params.kvHeads + head) * HEAD_DIM4;
      for (var c = 0u; c < HEAD_DIM4; c++) {
        let k = rotated[key + c];
        let v = qkv[value + c];
        let kOff = k - keyAt(row, c);
        let vOff = v - valueAt(row, c);
        sum += vec4f(dot(kOff, kOff), dot(k, k), dot(vOff, vOff), dot(v, v));
      }
    }
  }
  parts[lane] = sum;
  workgroupBarrier();
  if (lane == 0u) {
    var total = sums[params.layer];
    for (var i = 0u; i < 64u; i++) {
      total += parts[i];
    }
    sums[params.layer] = total;
  }
}
