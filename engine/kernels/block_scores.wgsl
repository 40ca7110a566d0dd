// block_scores: products of the means of blocks of queries and of blocks of cached keys, of one slab and through one band, times `scale`.
//   means  [queryBlocks, GROUP * kvHeads, HEAD_DIM4] of vec4: block_means.wgsl
//   keys   [pages, kvHeads, PAGE_TOKENS, row of the format]: one slab
//   scores [GROUP * kvHeads, queryBlocks, keyBlocks] from outAt on; block 0 is firstBlock
//   lists  pairs of blocks of keys and where they lie in the slab: page_list.wgsl, of which nothing else is used. Of the block that holds
//          token `length` - 1 only the tokens up to it count.
// A workgroup takes one block of keys of one key head: its invocations add up the mean, then make the products.
// Reference: blockScores() in attention/patterns/minference.ts.
// In front of it stand key_<format>.wgsl and page_list.wgsl. Constants: HEAD_DIM4, GROUP, BLOCK_TOKENS, PAGE_TOKENS.
struct Params {
  start: u32,
  length: u32,
  firstVisit: u32,
  firstBlock: u32,
  keyBlocks: u32,
  queryBlocks: u32,
  outAt: u32,
  kvHeads: u32,
  scale: f32,
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
@group(0) @binding(1) var<storage, read> means: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;

const LANES = 64u;
var<workgroup> mean: array<vec4f, HEAD_DIM4>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let kvHead = group.y;
  let pairAt = params.pairsAt + 2u * (params.firstVisit + group.x);
  let block = lists[pairAt];
  let cells = rowOf(lists[pairAt + 1u] * BLOCK_TOKENS, kvHead);
  let count = min(BLOCK_TOKENS, params.length - block * BLOCK_TOKENS);
  for (var column = lane; column < HEAD_DIM4; column += LANES) {
    var sum = vec4f(0.0);
    for (var token = 0u; token < count; token++) {
      sum += keyAt(cells + token, column);
    }
    mean[column] = sum / f32(count);
  }
  workgroupBarrier();
  for (var product = lane; product < GROUP * params.queryBlocks; product += LANES) {
    let head = kvHead * GROUP + product / params.queryBlocks;
    let queryBlock = product % params.queryBlocks;
    let query = (queryBlock * GROUP * params.kvHeads + head) * HEAD_DIM4;
    var score = 0.0;
    for (var c = 0u; c < HEAD_DIM4; c++) {
      score += dot(means[query + c], mean[c]);
    }
    scores[params.outAt + (head * params.queryBlocks + queryBlock) * params.keyBlocks + block - params.firstBlock] = score * params.scale;
  }
}
