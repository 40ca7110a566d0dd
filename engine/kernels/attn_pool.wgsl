// attn_pool: adds the attention of one head to a grid of cells: cells[r, c] += weights[r] * sum over samples of row r and keys of column c
//   of exp(score - lse), score as in attn_prefill.wgsl, keys that the query does not see through this band counting nothing. Each query's
//   softmax denominator is known from the forward pass, so no row of attention is ever stored.
//   queries [slots, heads, HEAD_DIM4] of vec4; lse [slots, heads]: what the tap kept
//   keys    [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab
//   lists   what each sample sees: page_list.wgsl, of which the visits are not used; from pagesAt on [pages of the context], where each
//           page lies in the slab, NONE where it lies in another
//   edges   [rows + 1, columns + 1]: row r holds samples edges[r] .. edges[r + 1] - 1, column c keys from the edge behind those on; then
//           [samples] of (slot, position)
//   weights [rows]: 1 / (samples of the asked row * layers * heads)
// One invocation sums one cell. Rows come in several dispatches, from rowStart, so that each stays short.
// Reference: poolAttention() in reference/pool.ts.
// In front of it stand key_<format>.wgsl, page_list.wgsl and chosen_pages.wgsl. Constants: HEAD_DIM4, BLOCK_TOKENS, PAGE_TOKENS.
struct Params {
  start: u32,
  rowStart: u32,
  rowEnd: u32,
  rows: u32,
  columns: u32,
  samples: u32,
  heads: u32,
  head: u32,
  kvHeads: u32,
  kvHead: u32,
  scale: f32,
  softcap: f32,
  slope: f32,
  pagesAt: u32,
  chosenAt: u32,
  chosenCount: u32,
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
@group(0) @binding(1) var<storage, read> queries: array<vec4f>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> edges: array<u32>;
@group(0) @binding(6) var<storage, read> weights: array<f32>;
@group(0) @binding(7) var<storage, read_write> cells: array<f32>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let column = id.x;
  let row = params.rowStart + id.y;
  if (column >= params.columns || row >= params.rowEnd) {
    return;
  }
  let keyEdges = params.rows + 1u + column;
  let firstKey = edges[keyEdges];
  let keyEnd = edges[keyEdges + 1u];
  let sampleEnd = edges[row + 1u];
  let table = params.rows + params.columns + 2u;
  var sum = 0f;
  for (var s = edges[row]; s < sampleEnd; s++) {
    let slot = edges[table + 2u * s];
    let position = edges[table + 2u * s + 1u];
    let query = (slot * params.heads + params.head) * HEAD_DIM4;
    let logSum = lse[slot * params.heads + params.head];
    let range = params.rangesAt + 4u * s;
    let end = min(keyEnd, lists[range + 1u]);
    let near = lists[range + 2u];
    let place = f32(lists[range + 3u]);
    for (var key = max(firstKey, lists[range]); key < end; key++) {
      let page = lists[params.pagesAt + key / PAGE_TOKENS];
      if (page == NONE || !sampleSees(s, params.head, params.kvHead, position, near, key)) {
        continue;
      }
      let cell = rowOf(page * PAGE_TOKENS + key % PAGE_TOKENS, params.kvHead);
      var score = 0f;
      for (var c = 0u; c < HEAD_DIM4; c++) {
        score += dot(queries[query + c], keyAt(cell, c));
      }
      score *= params.scale;
      if (params.softcap > 0.0) {
        score = params.softcap * tanh(clamp(score / params.softcap, -10.0, 10.0));
      }
      sum += exp(score - params.slope * (place - f32(key)) - logSum);
    }
  }
  cells[row * params.columns + column] += sum * weights[row];
}
