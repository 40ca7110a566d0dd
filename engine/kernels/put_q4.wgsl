// put_q4: writes a piece as nibbles around 8 and one scale per 32 channels, two scales in a word (kv-cache/format.ts). Stands in front of
// kv_put.wgsl.
// Constants: HEAD_DIM4, ROW (words of a row).
@group(0) @binding(3) var<storage, read_write> cache: array<u32>;

fn put(row: u32, first: u32, columns: u32) {
  var extreme = vec2f(0.0);
  for (var c = 0u; c < columns; c++) {
    for (var i = 0u; i < 4u; i++) {
      let number = piece[c][i];
      extreme[c / 8u] = select(extreme[c / 8u], number, abs(number) > abs(extreme[c / 8u]));
    }
  }
  let packed = pack2x16float(clamp(extreme / -8.0, vec2f(-65504.0), vec2f(65504.0)));
  let scales = unpack2x16float(packed);
  var word = 0u;
  for (var c = 0u; c < columns; c++) {
    let scale = scales[c / 8u];
    let codes = vec4u(clamp(floor(piece[c] / select(scale, 1.0, scale == 0.0) + 8.5), vec4f(0.0), vec4f(15.0)));
    word |= (codes.x | (codes.y << 4u) | (codes.z << 8u) | (codes.w << 12u)) << (c % 2u * 16u);
    if (c % 2u == 1u || c + 1u == columns) {
      cache[row * ROW + (first + c) / 2u] = word;
      word = 0u;
    }
  }
  cache[row * ROW + (HEAD_DIM4 + 1u) / 2u + first / 16u] = packed;
}
