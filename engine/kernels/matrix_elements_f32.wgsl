// matrix_elements_f32: elements of matrix units as they are.
alias Element = f32;

fn element(value: f32) -> Element {
  return value;
}
