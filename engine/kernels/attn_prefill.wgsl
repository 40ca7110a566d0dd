// attn_prefill: causal attention of a chunk of queries over all cached keys, FlashAttention-2 style (arXiv 2307.08691):
//   out[t, h] = sum_j softmax_j(q[t, h] . k[j] * scale) v[j] over j <= start + t, with running maximum m, denominator l and output in f32.
//   qkv    [tokens, row4] of vec4: the first GROUP * kvHeads heads are the queries, already rotated
//   keys, values [physical pages, kvHeads, PAGE_TOKENS, HEAD_DIM4] of vec4, read through pages [logical pages]
//   out    [tokens, GROUP * kvHeads, HEAD_DIM4] of vec4
//   lse    [positions, GROUP * kvHeads]: m + log(l) of each row, kept for the attention tap
// A workgroup takes one key head and 32 rows, a row being one (token, head of the group): the whole group shares each load of K and V.
// Per block of 32 keys: each invocation computes 4 x 4 scores; 32 invocations fold one row each into m and l; each invocation adds
// P V for 4 rows and every 8th vec4 of the head. Blocks behind the last visible key are not visited.
// Reference: attention() in reference/ops.ts.
// Constants: HEAD_DIM4, OUT_COLUMNS = ceil(HEAD_DIM4 / 8), GROUP (query heads per key head), PAGE_TOKENS.
struct Params {
  tokens: u32,
  start: u32,
  kvHeads: u32,
  row4: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(2) var<storage, read> keys: array<vec4f>;
@group(0) @binding(3) var<storage, read> values: array<vec4f>;
@group(0) @binding(4) var<storage, read> pages: array<u32>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

const ROWS = 32u;
const KEYS = 32u;
const MASKED = -1e30;
var<workgroup> scores: array<f32, 1024>;
var<workgroup> rescale: array<f32, 32>;

fn keyCell(key: u32, kvHead: u32) -> u32 {
  return ((pages[key / PAGE_TOKENS] * params.kvHeads + kvHead) * PAGE_TOKENS + key % PAGE_TOKENS) * HEAD_DIM4;
}

@compute @workgroup_size(8, 8)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let kvHead = group.y;
  let firstRow = group.x * ROWS;
  let rows = params.tokens * GROUP;
  let heads = params.kvHeads * GROUP;
  let lastRow = min(firstRow + ROWS, rows) - 1u;
  let lastKey = params.start + lastRow / GROUP;

  var query: array<u32, 4>;
  var queryPosition: array<u32, 4>;
  for (var i = 0u; i < 4u; i++) {
    // Rows behind the chunk repeat its last row; they are not stored.
    let row = min(firstRow + lane.y + 8u * i, lastRow);
    query[i] = row / GROUP * params.row4 + (kvHead * GROUP + row % GROUP) * HEAD_DIM4;
    queryPosition[i] = params.start + row / GROUP;
  }
  var out0: array<vec4f, OUT_COLUMNS>;
  var out1: array<vec4f, OUT_COLUMNS>;
  var out2: array<vec4f, OUT_COLUMNS>;
  var out3: array<vec4f, OUT_COLUMNS>;
  var m = MASKED;
  var l = 0f;

  for (var block = 0u; block <= lastKey; block += KEYS) {
    var cell: vec4u;
    for (var j = 0u; j < 4u; j++) {
      cell[j] = keyCell(min(block + lane.x + 8u * j, lastKey), kvHead);
    }
    var s0 = vec4f(0.0);
    var s1 = vec4f(0.0);
    var s2 = vec4f(0.0);
    var s3 = vec4f(0.0);
    for (var c = 0u; c < HEAD_DIM4; c++) {
      let k0 = keys[cell.x + c];
      let k1 = keys[cell.y + c];
      let k2 = keys[cell.z + c];
      let k3 = keys[cell.w + c];
      let q0 = qkv[query[0] + c];
      let q1 = qkv[query[1] + c];
      let q2 = qkv[query[2] + c];
      let q3 = qkv[query[3] + c];
      s0 += vec4f(dot(q0, k0), dot(q0, k1), dot(q0, k2), dot(q0, k3));
      s1 += vec4f(dot(q1, k0), dot(q1, k1), dot(q1, k2), dot(q1, k3));
      s2 += vec4f(dot(q2, k0), dot(q2, k1), dot(q2, k2), dot(q2, k3));
      s3 += vec4f(dot(q3, k0), dot(q3, k1), dot(q3, k2), dot(q3, k3));
    }
    let s = array<vec4f, 4>(s0, s1, s2, s3);
    for (var i = 0u; i < 4u; i++) {
      for (var j = 0u; j < 4u; j++) {
        let key = lane.x + 8u * j;
        scores[(lane.y + 8u * i) * KEYS + key] = select(MASKED, s[i][j] * params.scale, block + key <= queryPosition[i]);
      }
    }
    workgroupBarrier();

    if (index < ROWS) {
      var largest = m;
      for (var key = 0u; key < KEYS; key++) {
        largest = max(largest, scores[index * KEYS + key]);
      }
      let factor = exp(m - largest);
      var sum = l * factor;
      for (var key = 0u; key < KEYS; key++) {
        let p = exp(scores[index * KEYS + key] - largest);
        scores[index * KEYS + key] = p;
        sum += p;
      }
      m = largest;
      l = sum;
      rescale[index] = factor;
    }
    workgroupBarrier();

    for (var c = 0u; c < OUT_COLUMNS; c++) {
      out0[c] *= rescale[lane.y];
      out1[c] *= rescale[lane.y + 8u];
      out2[c] *= rescale[lane.y + 16u];
      out3[c] *= rescale[lane.y + 24u];
    }
    for (var key = 0u; key < min(KEYS, lastKey + 1u - block); key++) {
      let valueCell = keyCell(block + key, kvHead) + lane.x;
      let p0 = scores[lane.y * KEYS + key];
      let p1 = scores[(lane.y + 8u) * KEYS + key];
      let p2 = scores[(lane.y + 16u) * KEYS + key];
      let p3 = scores[(lane.y + 24u) * KEYS + key];
      for (var c = 0u; c < OUT_COLUMNS; c++) {
        // Behind the head's last column this reads a neighbour, whose sum is not stored.
        let v = values[valueCell + 8u * c];
        out0[c] += p0 * v;
        out1[c] += p1 * v;
        out2[c] += p2 * v;
        out3[c] += p3 * v;
      }
    }
    workgroupBarrier();
  }

  if (index < ROWS) {
    rescale[index] = 1.0 / l;
    if (firstRow + index <= lastRow) {
      let row = firstRow + index;
      lse[(params.start + row / GROUP) * heads + kvHead * GROUP + row % GROUP] = m + log(l);
    }
  }
  workgroupBarrier();
  for (var c = 0u; c < OUT_COLUMNS; c++) {
    let column = lane.x + 8u * c;
    if (column < HEAD_DIM4) {
      let parts = array<vec4f, 4>(out0[c], out1[c], out2[c], out3[c]);
      for (var i = 0u; i < 4u; i++) {
        let row = firstRow + lane.y + 8u * i;
        if (row <= lastRow) {
          out[(row / GROUP * heads + kvHead * GROUP + row % GROUP) * HEAD_DIM4 + column] = parts[i] * rescale[lane.y + 8u * i];
        }
      }
    }
  }
}
