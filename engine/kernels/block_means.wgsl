// block_means: means of a chunk's queries over blocks of positions; of the first block only the tokens that the chunk has.
//   rotated [tokens, row4] of vec4: the first `heads` heads are the queries of one band, the first token is at position `start`
//   means   [blocks, heads, HEAD_DIM4] of vec4
// One invocation makes one vec4. Reference: blockMeans() in attention/patterns/minference.ts. Constants: HEAD_DIM4, BLOCK_TOKENS.
struct Params {
  start: u32,
  tokens: u32,
  heads: u32,
  row4: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rotated: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> means: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let width = params.heads * HEAD_DIM4;
  if (id.x >= width) {
    return;
  }
  let position = (params.start / BLOCK_TOKENS + id.y) * BLOCK_TOKENS;
  let firstToken = max(position, params.start) - params.start;
  let endToken = min(position + BLOCK_TOKENS - params.start, params.tokens);
  var sum = vec4f(0.0);
  for (var token = firstToken; token < endToken; token++) {
    sum += rotated[token * params.row4 + id.x];
  }
  means[id.y * width + id.x] = sum / f32(endToken - firstToken);
}
