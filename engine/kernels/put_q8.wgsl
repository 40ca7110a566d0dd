// put_q8: writes a piece as bytes and one scale per 32 channels, two scales in a word (kv-cache/format.ts). Stands in front of kv_put.wgsl.
// Constants: HEAD_DIM4, ROW (words of a row).
@group(0) @binding(3) var<storage, read_write> cache: array<u32>;

fn put(row: u32, first: u32, columns: u32) {
  var largest = vec2f(0.0);
  for (var c = 0u; c < columns; c++) {
    let four = abs(piece[c]);
    largest[c / 8u] = max(largest[c / 8u], max(max(four.x, four.y), max(four.z, four.w)));
  }
  let packed = pack2x16float(min(largest / 127.0, vec2f(65504.0)));
  let scales = unpack2x16float(packed);
  for (var c = 0u; c < columns; c++) {
    let scale = scales[c / 8u];
    let codes = clamp(vec4i(round(piece[c] / select(scale, 1.0, scale == 0.0))), vec4i(-127), vec4i(127)) & vec4i(255);
    cache[row * ROW + first + c] = u32(codes.x | (codes.y << 8u) | (codes.z << 16u) | (codes.w << 24u));
  }
  cache[row * ROW + HEAD_DIM4 + first / 16u] = packed;
}
