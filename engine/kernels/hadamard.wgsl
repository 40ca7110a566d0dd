// hadamard: turns the first `heads` heads of each row by M = diag(signs) H / sqrt(block), in place: "incoherent processing" (arXiv 2307.13304,
//   as FlashAttention-3 has it, arXiv 2407.08608). M is orthogonal, so q M . k M = q . k, while one large channel becomes many small ones,
//   which lose less to a common scale of 8 bits. H is the Hadamard matrix of BLOCK4 * 4 channels, along the diagonal where a head has several
//   blocks: BLOCK4 * 4 is the largest power of two that divides the head dimension.
//   rows [tokens, row4] of vec4: the heads lie first
// A workgroup turns as many heads of one token as 64 invocations have vec4 for; each owns one vec4 and passes it to its partner of each step.
// Reference: hadamardRows() in reference/flash3.ts.
// Constants: HEAD_DIM4, BLOCK4.
struct Params {
  row4: u32,
  heads: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> rows: array<vec4f>;

const HEADS = 64u / HEAD_DIM4;
// Two of them, taken in turn, so that a step needs one barrier.
var<workgroup> passed: array<vec4f, 128>;

// 1 or -1, a fixed choice for each channel: bits of a hash of its number.
fn signOf(channel: u32) -> f32 {
  var mixed = (channel + 1u) * 0x9e3779b9u;
  mixed = (mixed ^ (mixed >> 15u)) * 0x85ebca6bu;
  return select(1.0, -1.0, ((mixed >> 16u) & 1u) == 1u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = group.x * HEADS + lane / HEAD_DIM4;
  let column = lane % HEAD_DIM4;
  let isMine = lane < HEADS * HEAD_DIM4 && head < params.heads;
  let cell = group.y * params.row4 + head * HEAD_DIM4 + column;
  let channel = column * 4u;
  var x = vec4f(0.0);
  if (isMine) {
    x = rows[cell] * vec4f(signOf(channel), signOf(channel + 1u), signOf(channel + 2u), signOf(channel + 3u));
  }
  // The first two steps are among the four channels that an invocation has.
  let pairs = vec4f(x.x + x.y, x.x - x.y, x.z + x.w, x.z - x.w);
  var turned = vec4f(pairs.xy + pairs.zw, pairs.xy - pairs.zw);
  var half = 0u;
  for (var step = 1u; step < BLOCK4; step <<= 1u) {
    passed[half + lane] = turned;
    workgroupBarrier();
    let other = passed[half + (lane ^ step)];
    turned = select(turned + other, other - turned, (lane & step) != 0u);
    half = 64u - half;
  }
  if (isMine) {
    rows[cell] = turned * inverseSqrt(f32(BLOCK4 * 4u));
  }
}
