// attn_pool: adds the attention of one head to a grid of cells: cells[r, c] += weights[r] * sum over queries of row r and keys of column c
//   of exp(score - lse), score as in attn_prefill.wgsl, keys outside the query's range of this band counting nothing. Each query's softmax denominator is known from the forward pass,
//   so no row of attention is ever stored.
//   queries [positions, heads, HEAD_DIM4] of vec4; lse [positions, heads]
//   keys    [physical pages, kvHeads, PAGE_TOKENS, HEAD_DIM4] of vec4, read through pages [logical pages]
//   ranges  [positions] of (from, to): the keys each query sees through this band
//   edges   [queryEdges, then keyEdges]: row r holds queries edges[r] .. edges[r + 1] - 1, and so on for columns behind them
//   weights [rows]: 1 / (queries of the asked row * layers * heads)
// One invocation sums one cell. Rows come in several dispatches, from rowStart, so that each stays short.
// Reference: poolAttention() in reference/pool.ts.
// Constants: HEAD_DIM4, PAGE_TOKENS.
struct Params {
  rowStart: u32,
  rowEnd: u32,
  rows: u32,
  columns: u32,
  heads: u32,
  head: u32,
  kvHeads: u32,
  kvHead: u32,
  scale: f32,
  softcap: f32,
  slope: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<vec4f>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read> keys: array<vec4f>;
@group(0) @binding(4) var<storage, read> pages: array<u32>;
@group(0) @binding(5) var<storage, read> ranges: array<vec2u>;
@group(0) @binding(6) var<storage, read> edges: array<u32>;
@group(0) @binding(7) var<storage, read> weights: array<f32>;
@group(0) @binding(8) var<storage, read_write> cells: array<f32>;

fn keyCell(key: u32) -> u32 {
  return ((pages[key / PAGE_TOKENS] * params.kvHeads + params.kvHead) * PAGE_TOKENS + key % PAGE_TOKENS) * HEAD_DIM4;
}

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
  let queryEnd = edges[row + 1u];
  var sum = 0f;
  for (var q = max(edges[row], firstKey); q < queryEnd; q++) {
    let query = (q * params.heads + params.head) * HEAD_DIM4;
    let logSum = lse[q * params.heads + params.head];
    let range = ranges[q];
    // Four keys share each load of the query; those behind the last repeat it and count nothing.
    let end = min(keyEnd, range.y);
    for (var k = max(firstKey, range.x); k < end; k += 4u) {
      let key0 = keyCell(k);
      let key1 = keyCell(min(k + 1u, end - 1u));
      let key2 = keyCell(min(k + 2u, end - 1u));
      let key3 = keyCell(min(k + 3u, end - 1u));
      var scores = vec4f(0.0);
      for (var c = 0u; c < HEAD_DIM4; c++) {
        let value = queries[query + c];
        scores += vec4f(dot(value, keys[key0 + c]), dot(value, keys[key1 + c]), dot(value, keys[key2 + c]), dot(value, keys[key3 + c]));
      }
      scores *= params.scale;
      if (params.softcap > 0.0) {
        scores = params.softcap * tanh(clamp(scores / params.softcap, vec4f(-10.0), vec4f(10.0)));
      }
      let fourKeys = vec4u(k) + vec4u(0u, 1u, 2u, 3u);
      scores -= params.slope * (f32(q) - vec4f(fourKeys));
      sum += dot(exp(scores - logSum), select(vec4f(0.0), vec4f(1.0), fourKeys < vec4u(end)));
    }
  }
  cells[row * params.columns + column] += sum * weights[row];
}
