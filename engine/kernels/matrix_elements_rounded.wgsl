// matrix_elements_rounded: elements as binary16 would have them, in f32, where a device has no binary16.
alias Element = f32;

fn element(value: f32) -> Element {
  return unpack2x16float(pack2x16float(vec2f(value, 0.0))).x;
}
