// matvec_sum behind matvec: adds the parts of its sums in workgroup memory.
var<workgroup> parts: array<vec3f, LANES>;

// In lanes below groupRows: the sum over all lanes that are equal modulo groupRows.
fn sumOverParts(sums: vec3f, lane: u32) -> vec3f {
  parts[lane] = sums;
  workgroupBarrier();
  var total = vec3f(0.0);
  if (lane < params.groupRows) {
    for (var i = lane; i < LANES; i += params.groupRows) {
      total += parts[i];
    }
  }
  return total;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  work(group.x, lane);
}
