// matrix_q4_k behind matrix_nibbles: d * s * code - dmin * m, with s and m of six bits per block of 32; with fifth bits it is Q5_K.
// Four words for eight blocks: d and dmin in binary16; the low nibbles of the eight s; those of the eight m; two high bits of each s
// (the lower half of the word) and of each m.
const HAS_OFFSET = true;

fn scaleAndOffset(row: u32, block: u32) -> vec2f {
  let at = place(row, (block >> 3u) * 4u, params.blocks >> 1u);
  let nibble = (block & 7u) * 4u;
  let pair = (block & 7u) * 2u;
  let high = scales[at + 96u];
  let s = ((scales[at + 32u] >> nibble) & 15u) | (((high >> pair) & 3u) << 4u);
  let m = ((scales[at + 64u] >> nibble) & 15u) | (((high >> (16u + pair)) & 3u) << 4u);
  return halves(scales[at]) * vec2f(f32(s), -f32(m));
}

fn bytes16(row: u32, part: u32) -> vec4u {
  return codes16(row, part);
}

fn weights16(row: u32, part: u32) -> Weights {
  let pair = scaleAndOffset(row, part >> 1u);
  return Weights(floats16(codes16(row, part)), pair.x, pair.y);
}
