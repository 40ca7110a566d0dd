// attn_flash3: attention of a chunk of queries over one slab of cached keys, after FlashAttention-3 (arXiv 2407.08608) as far as WGSL can say it:
//   out[t, h] = sum_j softmax_j(score(t, h, j)) v[j] over the keys that (t, h) sees; softmax state and output in f32, as in attn_prefill.wgsl,
//   which says what score, bands, carry, out and lse are. Patterns are not read: this policy has none.
//   queries, and products of them with a tile: attn_flash3_floats.wgsl, attn_flash3_integers.wgsl or attn_flash3_matrices.wgsl
//   keys, values [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab, through keyPart, valuePart and their scales per tile
//   lists  which keys of the slab to visit: page_list.wgsl
// A workgroup takes one key head and 32 rows, a row being one (token, head of the group). It takes KEYS keys at a time, which lie as they are
// stored in workgroup memory. WGSL has neither asynchronous copies nor named barriers, so there are no producers and consumers; where
// PIPELINED is 1, every invocation has the words of the next tile of keys and values on their way into its registers while it works on
// this one, and the scores of the next tile are made between two barriers of this one's softmax, with which they have nothing to do.
// Two barriers a tile remain. Where it is 0, a tile is fetched, then scored, then weighed, with three barriers. Matrix units add two.
// Reference: flash3Attention() in reference/flash3.ts.
// In front of it stand key_<format>.wgsl, value_<format>.wgsl, attn_flash3_<format>.wgsl, attn_flash3_<products>.wgsl and page_list.wgsl.
// Constants: HEAD_DIM4, GROUP, PIPELINED, BLOCK_TOKENS, PAGE_TOKENS.
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
@group(0) @binding(5) var<storage, read> slopes: array<f32>;
@group(0) @binding(6) var<storage, read> lseBefore: array<f32>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> lse: array<f32>;

const LANES = 64u;
const ROWS = 32u;
const QUADS = 8u;
const COLUMNS = 16u;
const KEYS = 16u;
// Tiles of workgroup memory in a visited block.
const STEPS = BLOCK_TOKENS / KEYS;
const MASKED = -1e30;
const EMPTY = -1e30;
// Widest part of a head that one workgroup adds up, in vec4.
const PART4 = 32u;
const WIDTH4 = min(HEAD_DIM4, PART4);
const KEY_PARTS = (KEYS * HEAD_DIM4 + LANES - 1u) / LANES;
const VALUE_PARTS = (KEYS * WIDTH4 + LANES - 1u) / LANES;

// Two of them: one is read while the next is filled.
var<workgroup> valueTiles: array<Part, 2u * KEYS * WIDTH4>;
var<workgroup> maxima: array<vec4f, 64>;
var<workgroup> weights: array<vec4f, KEYS * QUADS>;
var<workgroup> rescale: array<vec4f, QUADS>;
// What is on its way into the tiles.
var<private> keyParts: array<Part, KEY_PARTS>;
var<private> valueParts: array<Part, VALUE_PARTS>;

// What the four rows of a quad need to know to score a key.
struct Quad {
  cells: vec4u,
  starts: vec4u,
  ends: vec4u,
  positions: vec4f,
  slopes: vec4f,
  factors: vec4f,
}

fn outCell(row: u32, kvHead: u32) -> u32 {
  return row / GROUP * params.kvHeads * GROUP + kvHead * GROUP + row % GROUP;
}

// First key of a step, and its row in the slab.
fn keyOf(step: u32) -> u32 {
  return lists[params.pairsAt + step / STEPS * 2u] * BLOCK_TOKENS + step % STEPS * KEYS;
}

fn cellsOf(step: u32, kvHead: u32) -> u32 {
  return rowOf(lists[params.pairsAt + step / STEPS * 2u + 1u] * BLOCK_TOKENS + step % STEPS * KEYS, kvHead);
}

// The next step, `first` itself or behind it, that has keys in [firstKey, keyEnd).
fn stepFrom(first: u32, end: u32, firstKey: u32, keyEnd: u32) -> u32 {
  var step = first;
  while (step < end) {
    let key = keyOf(step);
    if (key + KEYS > firstKey && key < keyEnd) {
      break;
    }
    step++;
  }
  return step;
}

fn fetchKeys(cells: u32, lane: u32) {
  for (var n = 0u; n < KEY_PARTS; n++) {
    let i = min(n * LANES + lane, KEYS * HEAD_DIM4 - 1u);
    keyParts[n] = keyPart(cells + i / HEAD_DIM4, i % HEAD_DIM4);
  }
}

fn fetchValues(cells: u32, firstColumn: u32, lane: u32) {
  for (var n = 0u; n < VALUE_PARTS; n++) {
    let i = min(n * LANES + lane, KEYS * WIDTH4 - 1u);
    valueParts[n] = valuePart(cells + i / WIDTH4, min(firstColumn + i % WIDTH4, HEAD_DIM4 - 1u));
  }
}

fn storeTiles(turn: u32, lane: u32) {
  for (var n = 0u; n < KEY_PARTS; n++) {
    let i = n * LANES + lane;
    if (i < KEYS * HEAD_DIM4) {
      storeKey(i / HEAD_DIM4, i % HEAD_DIM4, keyParts[n]);
    }
  }
  for (var n = 0u; n < VALUE_PARTS; n++) {
    let i = n * LANES + lane;
    if (i < KEYS * WIDTH4) {
      valueTiles[turn * KEYS * WIDTH4 + i] = valueParts[n];
    }
  }
}

fn masked(products: vec4f, key: u32, factor: f32, quad: Quad) -> vec4f {
  var score = products * (quad.factors * factor);
  if (params.softcap > 0.0) {
    score = params.softcap * tanh(clamp(score / params.softcap, vec4f(-10.0), vec4f(10.0)));
  }
  score -= quad.slopes * (quad.positions - f32(key));
  return select(vec4f(MASKED), score, (vec4u(key) >= quad.starts) & (vec4u(key) < quad.ends));
}

// Scores of the quad's rows for two keys of the tile, keyLane and keyLane + 8.
fn scored(step: u32, cells: u32, lane: u32, quad: Quad) -> array<vec4f, 2> {
  let keyLane = lane % QUADS;
  let key = keyOf(step) + keyLane;
  let factor = keyScale(cells);
  readyProducts(lane);
  let sums = products(quad.cells, lane / QUADS, keyLane);
  return array(masked(sums[0], key, factor, quad), masked(sums[1], key + 8u, factor, quad));
}

// exp(s - m), and 0 for a masked key even where the whole row is masked so far.
fn weighed(score: vec4f, largest: vec4f) -> vec4f {
  return select(exp(score - largest), vec4f(0.0), score <= vec4f(MASKED));
}

// Each of four rows (columns of the matrix) times its factor.
fn scaledRows(rows: mat4x4f, factors: vec4f) -> mat4x4f {
  return mat4x4f(rows[0] * factors.x, rows[1] * factors.y, rows[2] * factors.z, rows[3] * factors.w);
}

fn outer(factors: vec4f, value: vec4f) -> mat4x4f {
  return mat4x4f(factors.x * value, factors.y * value, factors.z * value, factors.w * value);
}

fn carriedLse(firstRow: u32, lastRow: u32, kvHead: u32) -> vec4f {
  var before = vec4f(MASKED);
  if (params.carry == 1u) {
    for (var i = 0u; i < 4u; i++) {
      before[i] = lseBefore[outCell(min(firstRow + i, lastRow), kvHead)];
    }
  }
  return before;
}

// Output of four rows so far, where there is a carry.
fn carried(firstRow: u32, lastRow: u32, kvHead: u32, column: u32) -> mat4x4f {
  var before = mat4x4f();
  if (params.carry == 1u && column < HEAD_DIM4) {
    for (var i = 0u; i < 4u; i++) {
      before[i] = out[outCell(min(firstRow + i, lastRow), kvHead) * HEAD_DIM4 + column];
    }
  }
  return before;
}

// What is carried counts as one key of score lse, for the rows that have any.
fn carriedWeight(before: vec4f) -> vec4f {
  return select(vec4f(1.0), vec4f(0.0), before <= vec4f(EMPTY));
}

// A row without keys has weighed nothing: its output is 0 / 1.
fn store(rows: mat4x4f, denominators: vec4f, firstRow: u32, lastRow: u32, kvHead: u32, column: u32) {
  let divided = scaledRows(rows, 1.0 / select(denominators, vec4f(1.0), denominators == vec4f(0.0)));
  for (var i = 0u; i < 4u; i++) {
    if (firstRow + i <= lastRow && column < HEAD_DIM4) {
      out[outCell(firstRow + i, kvHead) * HEAD_DIM4 + column] = divided[i];
    }
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
  let end = (lists[visits] + lists[visits + 1u]) * STEPS;

  // Scoring: the rows of one quad, and every eighth key. Rows behind the chunk repeat its last row; they are not stored.
  let quad = lane / QUADS;
  let keyLane = lane % QUADS;
  var asked: Quad;
  for (var i = 0u; i < 4u; i++) {
    let row = min(firstRow + quad * 4u + i, lastRow);
    let token = row / GROUP;
    let head = kvHead * GROUP + row % GROUP;
    let range = params.rangesAt + token * 4u;
    asked.cells[i] = queryCell(token, head);
    asked.starts[i] = lists[range];
    asked.ends[i] = lists[range + 1u];
    asked.positions[i] = f32(lists[range + 3u]);
    asked.slopes[i] = slopes[head];
    asked.factors[i] = params.scale * queryScale(token, head);
  }
  var m = carriedLse(firstRow + quad * 4u, lastRow, kvHead);
  readyQueries(firstRow, lastRow, kvHead, lane);

  // Output: two quads of rows (near and far), and column, column + COLUMNS of the head.
  let firstColumn = group.z * PART4;
  let place = lane % COLUMNS;
  let pair = lane / COLUMNS * 2u;
  let row = firstRow + pair * 4u;
  let column = firstColumn + place;
  var near = carried(row, lastRow, kvHead, column);
  var far = carried(row + 4u, lastRow, kvHead, column);
  var nearSecond = carried(row, lastRow, kvHead, column + COLUMNS);
  var farSecond = carried(row + 4u, lastRow, kvHead, column + COLUMNS);
  var nearSum = carriedWeight(carriedLse(row, lastRow, kvHead));
  var farSum = carriedWeight(carriedLse(row + 4u, lastRow, kvHead));

  var step = stepFrom(lists[visits] * STEPS, end, firstKey, keyEnd);
  var next = end;
  var scores = array(vec4f(MASKED), vec4f(MASKED));
  if (PIPELINED == 1u && step < end) {
    let cells = cellsOf(step, kvHead);
    fetchKeys(cells, lane);
    fetchValues(cells, firstColumn, lane);
    storeTiles(0u, lane);
    workgroupBarrier();
    scores = scored(step, cells, lane, asked);
    next = stepFrom(step + 1u, end, firstKey, keyEnd);
    if (next < end) {
      fetchKeys(cellsOf(next, kvHead), lane);
    }
    workgroupBarrier();
  }
  for (var turn = 0u; step < end; turn = 1u - turn) {
    let cells = cellsOf(step, kvHead);
    if (PIPELINED == 0u) {
      fetchKeys(cells, lane);
      fetchValues(cells, firstColumn, lane);
    }
    storeTiles(turn, lane);
    var scoresAhead = scores;
    var afterNext = end;
    if (PIPELINED == 0u) {
      next = stepFrom(step + 1u, end, firstKey, keyEnd);
      workgroupBarrier();
      scores = scored(step, cells, lane, asked);
    }
    maxima[lane] = max(scores[0], scores[1]);
    workgroupBarrier();

    if (PIPELINED == 1u && next < end) {
      let cellsAhead = cellsOf(next, kvHead);
      afterNext = stepFrom(next + 1u, end, firstKey, keyEnd);
      if (afterNext < end) {
        fetchKeys(cellsOf(afterNext, kvHead), lane);
      }
      fetchValues(cellsAhead, firstColumn, lane);
      scoresAhead = scored(next, cellsAhead, lane, asked);
    }
    var largest = m;
    for (var i = 0u; i < QUADS; i++) {
      largest = max(largest, maxima[quad * QUADS + i]);
    }
    weights[keyLane * QUADS + quad] = weighed(scores[0], largest);
    weights[(keyLane + 8u) * QUADS + quad] = weighed(scores[1], largest);
    if (keyLane == 0u) {
      rescale[quad] = exp(m - largest);
    }
    m = largest;
    workgroupBarrier();

    let carryNear = rescale[pair];
    let carryFar = rescale[pair + 1u];
    nearSum *= carryNear;
    farSum *= carryFar;
    near = scaledRows(near, carryNear);
    far = scaledRows(far, carryFar);
    if (HEAD_DIM4 > COLUMNS) {
      nearSecond = scaledRows(nearSecond, carryNear);
      farSecond = scaledRows(farSecond, carryFar);
    }
    let factor = valueScale(cells);
    for (var i = 0u; i < KEYS; i++) {
      let p0 = weights[i * QUADS + pair];
      let p1 = weights[i * QUADS + pair + 1u];
      nearSum += p0;
      farSum += p1;
      let at = (turn * KEYS + i) * WIDTH4;
      let v = factor * numbers(valueTiles[at + min(place, WIDTH4 - 1u)]);
      near += outer(p0, v);
      far += outer(p1, v);
      if (HEAD_DIM4 > COLUMNS) {
        let u = factor * numbers(valueTiles[at + min(place + COLUMNS, WIDTH4 - 1u)]);
        nearSecond += outer(p0, u);
        farSecond += outer(p1, u);
      }
    }
    step = next;
    if (PIPELINED == 1u) {
      next = afterNext;
      scores = scoresAhead;
    }
  }

  store(near, nearSum, row, lastRow, kvHead, column);
  store(far, farSum, row + 4u, lastRow, kvHead, column);
  if (HEAD_DIM4 > COLUMNS) {
    store(nearSecond, nearSum, row, lastRow, kvHead, column + COLUMNS);
    store(farSecond, farSum, row + 4u, lastRow, kvHead, column + COLUMNS);
  }

  // The invocations that know the maximum of a quad are others than those that know its denominator.
  workgroupBarrier();
  if (place == 0u) {
    rescale[pair] = nearSum;
    rescale[pair + 1u] = farSum;
  }
  workgroupBarrier();
  if (group.z == 0u && keyLane < 4u && firstRow + quad * 4u + keyLane <= lastRow) {
    let denominator = rescale[quad][keyLane];
    lse[outCell(firstRow + quad * 4u + keyLane, kvHead)] = select(m[keyLane] + log(denominator), EMPTY, denominator == 0.0);
  }
}
