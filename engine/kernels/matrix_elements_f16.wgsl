// matrix_elements_f16: elements of matrix units in binary16, which holds codes of 8 bits exactly.
alias Element = f16;

fn element(value: f32) -> Element {
  return f16(value);
}
