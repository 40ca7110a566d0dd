// put_f32: writes a piece as f32 (kv-cache/format.ts). Stands in front of kv_put.wgsl.
// Constants: HEAD_DIM4.
@group(0) @binding(3) var<storage, read_write> cache: array<vec4f>;

fn put(row: u32, first: u32, columns: u32) {
  for (var c = 0u; c < columns; c++) {
    cache[row * HEAD_DIM4 + first + c] = piece[c];
  }
}
