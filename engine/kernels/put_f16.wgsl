// put_f16: writes a piece as halves, two in a word (kv-cache/format.ts). Stands in front of kv_put.wgsl.
// Constants: HEAD_DIM4.
@group(0) @binding(3) var<storage, read_write> cache: array<vec2u>;

fn put(row: u32, first: u32, columns: u32) {
  for (var c = 0u; c < columns; c++) {
    // What a half cannot hold becomes its largest number, not infinity.
    let four = clamp(piece[c], vec4f(-65504.0), vec4f(65504.0));
    cache[row * HEAD_DIM4 + first + c] = vec2u(pack2x16float(four.xy), pack2x16float(four.zw));
  }
}
