// wkv_scan: RWKV-7's recurrence over a chunk, head by head: S <- S diag(decay) - (S removal) removalRateᵀ + value keyᵀ; y = S receptance.
//   receptance, decay, key, removal, removalRate [tokens, heads, HEAD_DIM / 4] of vec4
//   value, y [tokens, heads, HEAD_DIM]
//   state    [heads, HEAD_DIM values, HEAD_DIM / 4 keys] of vec4, kept
// A workgroup holds up to 64 rows of one head's state, one row per invocation, in registers, and walks the tokens; the five rows that all
// of its invocations read are brought into workgroup memory for AHEAD tokens at a time.
// Reference: wkvScan() in reference/recurrentOps.ts.
// Constants: HEAD_DIM.
struct Params {
  tokens: u32,
  heads: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> receptance: array<vec4f>;
@group(0) @binding(2) var<storage, read> decay: array<vec4f>;
@group(0) @binding(3) var<storage, read> key: array<vec4f>;
@group(0) @binding(4) var<storage, read> value: array<f32>;
@group(0) @binding(5) var<storage, read> removal: array<vec4f>;
@group(0) @binding(6) var<storage, read> removalRate: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> state: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;

const KEYS4 = HEAD_DIM / 4u;
const AHEAD = 4u;
var<workgroup> receptances: array<vec4f, AHEAD * KEYS4>;
var<workgroup> decays: array<vec4f, AHEAD * KEYS4>;
var<workgroup> keys: array<vec4f, AHEAD * KEYS4>;
var<workgroup> removals: array<vec4f, AHEAD * KEYS4>;
var<workgroup> removalRates: array<vec4f, AHEAD * KEYS4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = tile.y;
  // Rows behind the last repeat it, because all invocations must reach the barriers, and are not stored.
  let wanted = tile.x * 64u + lane;
  let row = min(wanted, HEAD_DIM - 1u);
  let held = (head * HEAD_DIM + row) * KEYS4;
  var own: array<vec4f, KEYS4>;
  for (var i = 0u; i < KEYS4; i++) {
    own[i] = state[held + i];
  }
  for (var start = 0u; start < params.tokens; start += AHEAD) {
    let count = min(AHEAD, params.tokens - start);
    for (var i = lane; i < count * KEYS4; i += 64u) {
      let at = ((start + i / KEYS4) * params.heads + head) * KEYS4 + i % KEYS4;
      receptances[i] = receptance[at];
      decays[i] = decay[at];
      keys[i] = key[at];
      removals[i] = removal[at];
      removalRates[i] = removalRate[at];
    }
    workgroupBarrier();
    for (var t = 0u; t < count; t++) {
      let first = t * KEYS4;
      var taken = vec4f(0.0);
      for (var i = 0u; i < KEYS4; i++) {
        taken += own[i] * removals[first + i];
      }
      let removed = dot(taken, vec4f(1.0));
      let cell = ((start + t) * params.heads + head) * HEAD_DIM + row;
      let added = value[cell];
      var sum = vec4f(0.0);
      for (var i = 0u; i < KEYS4; i++) {
        own[i] = own[i] * decays[first + i] - removed * removalRates[first + i] + added * keys[first + i];
        sum += own[i] * receptances[first + i];
      }
      if (wanted < HEAD_DIM) {
        y[cell] = dot(sum, vec4f(1.0));
      }
    }
    workgroupBarrier();
  }
  if (wanted < HEAD_DIM) {
    for (var i = 0u; i < KEYS4; i++) {
      state[held + i] = own[i];
    }
  }
}
