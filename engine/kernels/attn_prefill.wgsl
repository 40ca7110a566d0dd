// attn_prefill: attention of a chunk of queries over one slab of cached keys, FlashAttention-2 style (arXiv 2307.08691):
//   out[t, h] = sum_j softmax_j(score(t, h, j)) v[j] over the keys that (t, h) sees, with running maximum m, denominator l and output in f32;
//   score = cap(q[t, h] . k[j] * scale) - slope[h] * (position[t] - j), cap(s) = softcap * tanh(s / softcap) where there is a softcap.
//   rotated [tokens, row4] of vec4: the first GROUP * kvHeads heads are the queries in the band's positions
//   keys, values [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab
//   lists  which keys of the slab to visit and which of them each query sees: page_list.wgsl
//   slopes [GROUP * kvHeads]: ALiBi, zeros without
//   out    [tokens, GROUP * kvHeads, HEAD_DIM4] of vec4
//   lse    [tokens, GROUP * kvHeads]: m + log(l) of each row, and EMPTY for a row without keys, whose output is 0
// With `carry` 1, out and lseBefore hold attention over other keys (other slabs, bands, ring steps) and out and lse become that over both: it
// goes on from m = lseBefore, l = 1. The two are different buffers because several workgroups read one row's.
// A workgroup takes one key head and 32 rows, a row being one (token, head of the group): the whole group shares each load of K and V.
// Rows are handled in quads of four, one vec4 lane each. Per block of 32 keys each invocation scores 1 quad x 4 keys; all share the
// scores, so that each knows its rows' maximum; then each adds P V for 2 quads and one vec4 column of the head (two above 64 channels);
// heads of more than 128 channels are cut along z, each part scoring for itself. What no row may see is not visited.
// Reference: attention() in reference/attend.ts; onlineStep() in reference/attention.ts is one block.
// In front of it stand key_<format>.wgsl, value_<format>.wgsl and page_list.wgsl.
// Constants: HEAD_DIM4, GROUP (query heads per key head), BLOCK_TOKENS, PAGE_TOKENS.
struct Params {
  tokens: u32,
  start: u32,
  kvHeads: u32,
  row4: u32,
  carry: u32,
  scale: f32,
  softcap: f32,
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
@group(0) @binding(1) var<storage, read> rotated: array<vec4f>;
@group(0) @binding(5) var<storage, read> slopes: array<f32>;
@group(0) @binding(6) var<storage, read> lseBefore: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> lse: array<f32>;

const ROWS = 32u;
const KEYS = 32u;
const QUADS = 8u;
const COLUMNS = 16u;
// No score of numbers is as low; exp of anything minus it is never asked for.
const MASKED = -1e30;
// Log-sum-exp of a row without keys: it weighs nothing beside any other.
const EMPTY = -1e30;
// Widest part of a head that one workgroup adds up, in vec4.
const PART4 = 32u;
var<workgroup> scores: array<vec4f, 256>;
var<workgroup> weights: array<vec4f, 256>;
var<workgroup> rescale: array<vec4f, 8>;

fn queryCell(row: u32, kvHead: u32) -> u32 {
  return row / GROUP * params.row4 + (kvHead * GROUP + row % GROUP) * HEAD_DIM4;
}

// What the four rows of a quad need to know to score a key.
struct Quad {
  tokens: vec4u,
  heads: vec4u,
  starts: vec4u,
  ends: vec4u,
  nears: vec4u,
  positions: vec4f,
  slopes: vec4f,
}

fn scored(dots: vec4f, key: u32, quad: Quad) -> vec4f {
  var score = dots * params.scale;
  if (params.softcap > 0.0) {
    score = params.softcap * tanh(clamp(score / params.softcap, vec4f(-10.0), vec4f(10.0)));
  }
  score -= quad.slopes * (quad.positions - f32(key));
  var seen = (vec4u(key) >= quad.starts) & (vec4u(key) < quad.ends);
  if (params.columnsAt != NONE || params.diagonalsAt != NONE || params.blocksAt != NONE) {
    for (var i = 0u; i < 4u; i++) {
      seen[i] = seen[i] && patternSees(quad.heads[i], params.start + quad.tokens[i], quad.nears[i], key);
    }
  } else {
    seen &= vec4u(key) >= quad.nears;
  }
  return select(vec4f(MASKED), score, seen);
}

// exp(s - m), and 0 for a masked key even where the whole row is masked so far.
fn weighed(score: vec4f, largest: vec4f) -> vec4f {
  return select(exp(score - largest), vec4f(0.0), score <= vec4f(MASKED));
}

fn outCell(row: u32, kvHead: u32) -> u32 {
  return row / GROUP * params.kvHeads * GROUP + kvHead * GROUP + row % GROUP;
}

// What was there before, where there is a carry.
fn carried(row: u32, lastRow: u32, kvHead: u32, column: u32) -> vec4f {
  if (params.carry == 0u || row > lastRow || column >= HEAD_DIM4) {
    return vec4f(0.0);
  }
  return out[outCell(row, kvHead) * HEAD_DIM4 + column];
}

fn carriedLse(rows: vec4u, kvHead: u32) -> vec4f {
  if (params.carry == 0u) {
    return vec4f(MASKED);
  }
  return vec4f(
    lseBefore[outCell(rows.x, kvHead)], lseBefore[outCell(rows.y, kvHead)],
    lseBefore[outCell(rows.z, kvHead)], lseBefore[outCell(rows.w, kvHead)],
  );
}

fn store(row: u32, lastRow: u32, kvHead: u32, column: u32, value: vec4f) {
  if (row <= lastRow && column < HEAD_DIM4) {
    let at = outCell(row, kvHead) * HEAD_DIM4 + column;
    out[at] = value;
  }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let kvHead = group.y;
  let firstRow = group.x * ROWS;
  let lastRow = min(firstRow + ROWS, params.tokens * GROUP) - 1u;
  let firstKey = lists[params.rangesAt + firstRow / GROUP * 4u];
  let keyEnd = lists[params.rangesAt + lastRow / GROUP * 4u + 1u];
  let tile = (params.start + firstRow / GROUP) / BLOCK_TOKENS - params.start / BLOCK_TOKENS;
  let visits = params.tilesAt + (tile * params.listHeads + kvHead % params.listHeads) * 2u;
  let firstVisit = lists[visits];
  let visitEnd = firstVisit + lists[visits + 1u];

  // Scoring: the rows of one quad, and every eighth key. Rows behind the chunk repeat its last row; they are not stored.
  let quad = lane / QUADS;
  let rows = min(vec4u(firstRow + quad * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(lastRow));
  var asked: Quad;
  asked.tokens = rows / GROUP;
  asked.heads = kvHead * GROUP + rows % GROUP;
  for (var i = 0u; i < 4u; i++) {
    let range = params.rangesAt + asked.tokens[i] * 4u;
    asked.starts[i] = lists[range];
    asked.ends[i] = lists[range + 1u];
    asked.nears[i] = lists[range + 2u];
    asked.positions[i] = f32(lists[range + 3u]);
    asked.slopes[i] = slopes[asked.heads[i]];
  }
  let query0 = queryCell(rows.x, kvHead);
  let query1 = queryCell(rows.y, kvHead);
  let query2 = queryCell(rows.z, kvHead);
  let query3 = queryCell(rows.w, kvHead);
  let keyLane = lane % QUADS;
  var m = carriedLse(rows, kvHead);

  // Output: two quads of rows (near and far), and column, column + COLUMNS of the head.
  let column = lane % COLUMNS + group.z * PART4;
  let pair = lane / COLUMNS * 2u;
  let second = column + COLUMNS;
  let row = firstRow + pair * 4u;
  var l0 = vec4f(0.0);
  var l1 = vec4f(0.0);
  var a0 = carried(row, lastRow, kvHead, column);
  var a1 = carried(row + 1u, lastRow, kvHead, column);
  var a2 = carried(row + 2u, lastRow, kvHead, column);
  var a3 = carried(row + 3u, lastRow, kvHead, column);
  var a4 = carried(row + 4u, lastRow, kvHead, column);
  var a5 = carried(row + 5u, lastRow, kvHead, column);
  var a6 = carried(row + 6u, lastRow, kvHead, column);
  var a7 = carried(row + 7u, lastRow, kvHead, column);
  var b0 = carried(row, lastRow, kvHead, second);
  var b1 = carried(row + 1u, lastRow, kvHead, second);
  var b2 = carried(row + 2u, lastRow, kvHead, second);
  var b3 = carried(row + 3u, lastRow, kvHead, second);
  var b4 = carried(row + 4u, lastRow, kvHead, second);
  var b5 = carried(row + 5u, lastRow, kvHead, second);
  var b6 = carried(row + 6u, lastRow, kvHead, second);
  var b7 = carried(row + 7u, lastRow, kvHead, second);

  if (params.carry == 1u) {
    // What is carried counts as one key of score lse, for the rows that have any.
    let known0 = carriedLse(min(vec4u(row) + vec4u(0u, 1u, 2u, 3u), vec4u(lastRow)), kvHead);
    let known1 = carriedLse(min(vec4u(row + 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(lastRow)), kvHead);
    l0 = select(vec4f(1.0), vec4f(0.0), known0 <= vec4f(EMPTY));
    l1 = select(vec4f(1.0), vec4f(0.0), known1 <= vec4f(EMPTY));
  }

  for (var step = 2u * firstVisit; step < 2u * visitEnd; step++) {
    // Each visit is a block of keys, taken in two halves.
    let pairAt = params.pairsAt + step / 2u * 2u;
    let block = lists[pairAt] * BLOCK_TOKENS + step % 2u * KEYS;
    if (block + KEYS <= firstKey || block >= keyEnd) {
      continue;
    }
    let slot = lists[pairAt + 1u] * BLOCK_TOKENS + step % 2u * KEYS;
    let cells = rowOf(slot, kvHead);
    let key = block + keyLane;
    let cell0 = cells + keyLane;
    var s0 = vec4f(0.0);
    var s1 = vec4f(0.0);
    var s2 = vec4f(0.0);
    var s3 = vec4f(0.0);
    for (var c = 0u; c < HEAD_DIM4; c++) {
      let q0 = rotated[query0 + c];
      let q1 = rotated[query1 + c];
      let q2 = rotated[query2 + c];
      let q3 = rotated[query3 + c];
      let k0 = keyAt(cell0, c);
      let k1 = keyAt(cell0 + 8u, c);
      let k2 = keyAt(cell0 + 16u, c);
      let k3 = keyAt(cell0 + 24u, c);
      s0 += vec4f(dot(q0, k0), dot(q1, k0), dot(q2, k0), dot(q3, k0));
      s1 += vec4f(dot(q0, k1), dot(q1, k1), dot(q2, k1), dot(q3, k1));
      s2 += vec4f(dot(q0, k2), dot(q1, k2), dot(q2, k2), dot(q3, k2));
      s3 += vec4f(dot(q0, k3), dot(q1, k3), dot(q2, k3), dot(q3, k3));
    }
    s0 = scored(s0, key, asked);
    s1 = scored(s1, key + 8u, asked);
    s2 = scored(s2, key + 16u, asked);
    s3 = scored(s3, key + 24u, asked);
    scores[keyLane * QUADS + quad] = s0;
    scores[(keyLane + 8u) * QUADS + quad] = s1;
    scores[(keyLane + 16u) * QUADS + quad] = s2;
    scores[(keyLane + 24u) * QUADS + quad] = s3;
    workgroupBarrier();

    var largest = m;
    for (var i = 0u; i < KEYS; i++) {
      largest = max(largest, scores[i * QUADS + quad]);
    }
    weights[keyLane * QUADS + quad] = weighed(s0, largest);
    weights[(keyLane + 8u) * QUADS + quad] = weighed(s1, largest);
    weights[(keyLane + 16u) * QUADS + quad] = weighed(s2, largest);
    weights[(keyLane + 24u) * QUADS + quad] = weighed(s3, largest);
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
    let keysHere = min(KEYS, keyEnd - block);
    for (var i = 0u; i < keysHere; i++) {
      let p0 = weights[i * QUADS + pair];
      let p1 = weights[i * QUADS + pair + 1u];
      l0 += p0;
      l1 += p1;
      let v = valueAt(cells + i, min(column, HEAD_DIM4 - 1u));
      a0 += p0.x * v;
      a1 += p0.y * v;
      a2 += p0.z * v;
      a3 += p0.w * v;
      a4 += p1.x * v;
      a5 += p1.y * v;
      a6 += p1.z * v;
      a7 += p1.w * v;
      if (HEAD_DIM4 > COLUMNS) {
        let u = valueAt(cells + i, min(second, HEAD_DIM4 - 1u));
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

  // A row without keys has weighed nothing: its output is 0 / 1.
  let d0 = select(l0, vec4f(1.0), l0 == vec4f(0.0));
  let d1 = select(l1, vec4f(1.0), l1 == vec4f(0.0));
  store(row, lastRow, kvHead, column, a0 / d0.x);
  store(row + 1u, lastRow, kvHead, column, a1 / d0.y);
  store(row + 2u, lastRow, kvHead, column, a2 / d0.z);
  store(row + 3u, lastRow, kvHead, column, a3 / d0.w);
  store(row + 4u, lastRow, kvHead, column, a4 / d1.x);
  store(row + 5u, lastRow, kvHead, column, a5 / d1.y);
  store(row + 6u, lastRow, kvHead, column, a6 / d1.z);
  store(row + 7u, lastRow, kvHead, column, a7 / d1.w);
  if (HEAD_DIM4 > COLUMNS) {
    store(row, lastRow, kvHead, second, b0 / d0.x);
    store(row + 1u, lastRow, kvHead, second, b1 / d0.y);
    store(row + 2u, lastRow, kvHead, second, b2 / d0.z);
    store(row + 3u, lastRow, kvHead, second, b3 / d0.w);
    store(row + 4u, lastRow, kvHead, second, b4 / d1.x);
    store(row + 5u, lastRow, kvHead, second, b5 / d1.y);
    store(row + 6u, lastRow, kvHead, second, b6 / d1.z);
    store(row + 7u, lastRow, kvHead, second, b7 / d1.w);
  }

  // The invocations that know the maximum of a quad are others than those that know its denominator.
  if (lane % COLUMNS == 0u) {
    rescale[pair] = l0;
    rescale[pair + 1u] = l1;
  }
  workgroupBarrier();
  if (group.z == 0u && keyLane < 4u && firstRow + quad * 4u + keyLane <= lastRow) {
    let at = outCell(firstRow + quad * 4u + keyLane, kvHead);
    let denominator = rescale[quad][keyLane];
    lse[at] = select(m[keyLane] + log(denominator), EMPTY, denominator == 0.0);
  }
}
