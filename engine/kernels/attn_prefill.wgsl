// attn_prefill: causal attention of a chunk of queries over all cached keys, FlashAttention-2 style (arXiv 2307.08691):
//   out[t, h] = sum_j softmax_j(q[t, h] . k[j] * scale) v[j] over j <= start + t, with running maximum m, denominator l and output in f32.
//   qkv    [tokens, row4] of vec4: the first GROUP * kvHeads heads are the queries, already rotated
//   keys, values [physical pages, kvHeads, PAGE_TOKENS, HEAD_DIM4] of vec4, read through pages [logical pages]
//   out    [tokens, GROUP * kvHeads, HEAD_DIM4] of vec4
//   lse    [positions, GROUP * kvHeads]: m + log(l) of each row, kept for the attention tap
// A workgroup takes one key head and 32 rows, a row being one (token, head of the group): the whole group shares each load of K and V.
// Rows are handled in quads of four, one vec4 lane each. Per block of 32 keys each invocation scores 1 quad x 4 keys; all share the
// scores, so that each knows its rows' maximum; then each adds P V for 2 quads and one vec4 column of the head (two above 64 channels).
// Blocks behind the last visible key are not visited.
// Reference: attention() in reference/ops.ts; onlineStep() in reference/attention.ts is one block.
// Constants: HEAD_DIM4 (at most 32), GROUP (query heads per key head), PAGE_TOKENS.
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
const QUADS = 8u;
const COLUMNS = 16u;
const MASKED = -1e30;
var<workgroup> scores: array<vec4f, 256>;
var<workgroup> weights: array<vec4f, 256>;
var<workgroup> rescale: array<vec4f, 8>;

fn keyCell(key: u32, kvHead: u32) -> u32 {
  return ((pages[key / PAGE_TOKENS] * params.kvHeads + kvHead) * PAGE_TOKENS + key % PAGE_TOKENS) * HEAD_DIM4;
}

fn queryCell(row: u32, kvHead: u32) -> u32 {
  return row / GROUP * params.row4 + (kvHead * GROUP + row % GROUP) * HEAD_DIM4;
}

fn masked(score: vec4f, key: u32, positions: vec4u) -> vec4f {
  return select(vec4f(MASKED), score * params.scale, vec4u(key) <= positions);
}

fn store(row: u32, lastRow: u32, kvHead: u32, column: u32, value: vec4f) {
  if (row <= lastRow && column < HEAD_DIM4) {
    out[(row / GROUP * params.kvHeads * GROUP + kvHead * GROUP + row % GROUP) * HEAD_DIM4 + column] = value;
  }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let kvHead = group.y;
  let firstRow = group.x * ROWS;
  let lastRow = min(firstRow + ROWS, params.tokens * GROUP) - 1u;
  let lastKey = params.start + lastRow / GROUP;

  // Scoring: the rows of one quad, and every eighth key. Rows behind the chunk repeat its last row; they are not stored.
  let quad = lane / QUADS;
  let rows = min(vec4u(firstRow + quad * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(lastRow));
  let positions = params.start + rows / GROUP;
  let query0 = queryCell(rows.x, kvHead);
  let query1 = queryCell(rows.y, kvHead);
  let query2 = queryCell(rows.z, kvHead);
  let query3 = queryCell(rows.w, kvHead);
  let keyLane = lane % QUADS;
  var m = vec4f(MASKED);

  // Output: two quads of rows (near and far), and column, column + COLUMNS of the head.
  let column = lane % COLUMNS;
  let pair = lane / COLUMNS * 2u;
  var l0 = vec4f(0.0);
  var l1 = vec4f(0.0);
  var a0 = vec4f(0.0);
  var a1 = vec4f(0.0);
  var a2 = vec4f(0.0);
  var a3 = vec4f(0.0);
  var a4 = vec4f(0.0);
  var a5 = vec4f(0.0);
  var a6 = vec4f(0.0);
  var a7 = vec4f(0.0);
  var b0 = vec4f(0.0);
  var b1 = vec4f(0.0);
  var b2 = vec4f(0.0);
  var b3 = vec4f(0.0);
  var b4 = vec4f(0.0);
  var b5 = vec4f(0.0);
  var b6 = vec4f(0.0);
  var b7 = vec4f(0.0);

  for (var block = 0u; block <= lastKey; block += KEYS) {
    let key = block + keyLane;
    let cell0 = keyCell(min(key, lastKey), kvHead);
    let cell1 = keyCell(min(key + 8u, lastKey), kvHead);
    let cell2 = keyCell(min(key + 16u, lastKey), kvHead);
    let cell3 = keyCell(min(key + 24u, lastKey), kvHead);
    var s0 = vec4f(0.0);
    var s1 = vec4f(0.0);
    var s2 = vec4f(0.0);
    var s3 = vec4f(0.0);
    for (var c = 0u; c < HEAD_DIM4; c++) {
      let q0 = qkv[query0 + c];
      let q1 = qkv[query1 + c];
      let q2 = qkv[query2 + c];
      let q3 = qkv[query3 + c];
      let k0 = keys[cell0 + c];
      let k1 = keys[cell1 + c];
      let k2 = keys[cell2 + c];
      let k3 = keys[cell3 + c];
      s0 += vec4f(dot(q0, k0), dot(q1, k0), dot(q2, k0), dot(q3, k0));
      s1 += vec4f(dot(q0, k1), dot(q1, k1), dot(q2, k1), dot(q3, k1));
      s2 += vec4f(dot(q0, k2), dot(q1, k2), dot(q2, k2), dot(q3, k2));
      s3 += vec4f(dot(q0, k3), dot(q1, k3), dot(q2, k3), dot(q3, k3));
    }
    s0 = masked(s0, key, positions);
    s1 = masked(s1, key + 8u, positions);
    s2 = masked(s2, key + 16u, positions);
    s3 = masked(s3, key + 24u, positions);
    scores[keyLane * QUADS + quad] = s0;
    scores[(keyLane + 8u) * QUADS + quad] = s1;
    scores[(keyLane + 16u) * QUADS + quad] = s2;
    scores[(keyLane + 24u) * QUADS + quad] = s3;
    workgroupBarrier();

    var largest = m;
    for (var i = 0u; i < KEYS; i++) {
      largest = max(largest, scores[i * QUADS + quad]);
    }
    weights[keyLane * QUADS + quad] = exp(s0 - largest);
    weights[(keyLane + 8u) * QUADS + quad] = exp(s1 - largest);
    weights[(keyLane + 16u) * QUADS + quad] = exp(s2 - largest);
    weights[(keyLane + 24u) * QUADS + quad] = exp(s3 - largest);
    if (keyLane == 0u) {
      rescale[quad] = exp(m - largest);
    }
    m = largest;
    workgroupBarrier();

    let carry0 = rescale[pair];
    let carry1 = rescale[pair + 1u];
    l0 *= carry0;
    l1 *= carry1;
    a0 *= carry0.x;
    a1 *= carry0.y;
    a2 *= carry0.z;
    a3 *= carry0.w;
    a4 *= carry1.x;
    a5 *= carry1.y;
    a6 *= carry1.z;
    a7 *= carry1.w;
    if (HEAD_DIM4 > COLUMNS) {
      b0 *= carry0.x;
      b1 *= carry0.y;
      b2 *= carry0.z;
      b3 *= carry0.w;
      b4 *= carry1.x;
      b5 *= carry1.y;
      b6 *= carry1.z;
      b7 *= carry1.w;
    }
    let keysHere = min(KEYS, lastKey + 1u - block);
    for (var i = 0u; i < keysHere; i++) {
      let p0 = weights[i * QUADS + pair];
      let p1 = weights[i * QUADS + pair + 1u];
      l0 += p0;
      l1 += p1;
      let cell = keyCell(block + i, kvHead);
      let v = values[cell + min(column, HEAD_DIM4 - 1u)];
      a0 += p0.x * v;
      a1 += p0.y * v;
      a2 += p0.z * v;
      a3 += p0.w * v;
      a4 += p1.x * v;
      a5 += p1.y * v;
      a6 += p1.z * v;
      a7 += p1.w * v;
      if (HEAD_DIM4 > COLUMNS) {
        let u = values[cell + min(column + COLUMNS, HEAD_DIM4 - 1u)];
        b0 += p0.x * u;
        b1 += p0.y * u;
        b2 += p0.z * u;
        b3 += p0.w * u;
        b4 += p1.x * u;
        b5 += p1.y * u;
        b6 += p1.z * u;
        b7 += p1.w * u;
      }
    }
  }

  // All 32 keys of a block were weighed, also those behind lastKey: their weight is exactly 0.
  let row = firstRow + pair * 4u;
  store(row, lastRow, kvHead, column, a0 / l0.x);
  store(row + 1u, lastRow, kvHead, column, a1 / l0.y);
  store(row + 2u, lastRow, kvHead, column, a2 / l0.z);
  store(row + 3u, lastRow, kvHead, column, a3 / l0.w);
  store(row + 4u, lastRow, kvHead, column, a4 / l1.x);
  store(row + 5u, lastRow, kvHead, column, a5 / l1.y);
  store(row + 6u, lastRow, kvHead, column, a6 / l1.z);
  store(row + 7u, lastRow, kvHead, column, a7 / l1.w);
  if (HEAD_DIM4 > COLUMNS) {
    let second = column + COLUMNS;
    store(row, lastRow, kvHead, second, b0 / l0.x);
    store(row + 1u, lastRow, kvHead, second, b1 / l0.y);
    store(row + 2u, lastRow, kvHead, second, b2 / l0.z);
    store(row + 3u, lastRow, kvHead, second, b3 / l0.w);
    store(row + 4u, lastRow, kvHead, second, b4 / l1.x);
    store(row + 5u, lastRow, kvHead, second, b5 / l1.y);
    store(row + 6u, lastRow, kvHead, second, b6 / l1.z);
    store(row + 7u, lastRow, kvHead, second, b7 / l1.w);
  }

  // The invocations that know the maximum of a quad are others than those that know its denominator.
  if (column == 0u) {
    rescale[pair] = l0;
    rescale[pair + 1u] = l1;
  }
  workgroupBarrier();
  if (keyLane < 4u && firstRow + quad * 4u + keyLane <= lastRow) {
    let stored = firstRow + quad * 4u + keyLane;
    let at = (params.start + stored / GROUP) * params.kvHeads * GROUP + kvHead * GROUP + stored % GROUP;
    lse[at] = m[keyLane] + log(rescale[quad][keyLane]);
  }
}
