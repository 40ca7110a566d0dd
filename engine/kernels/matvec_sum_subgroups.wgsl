// matvec_sum_subgroups behind matvec: adds the parts of its sums within each subgroup first, so that few are left for workgroup memory.
// It assumes nothing of a subgroup but that it is full and its size a power of two: lanes are numbered subgroup by subgroup, in the
// order in which subgroups ask.
var<workgroup> parts: array<vec3f, LANES>;
var<workgroup> subgroupsSoFar: atomic<u32>;
var<private> width: u32;

// In lanes below groupRows: the sum over all lanes that are equal modulo groupRows.
fn sumOverParts(sums: vec3f, lane: u32) -> vec3f {
  var sum = sums;
  // All distances a subgroup may have, so that every lane takes part in every exchange.
  for (var distance = 1u; distance < 128u; distance *= 2u) {
    let other = subgroupShuffleXor(sum, distance);
    sum += select(vec3f(0.0), other, distance >= params.groupRows && distance < width);
  }
  // Every run of `step` lanes now holds the same sums groupRows lanes after groupRows lanes.
  let step = max(width, params.groupRows);
  let place = lane % step;
  if (place < params.groupRows) {
    parts[lane / step * params.groupRows + place] = sum;
  }
  workgroupBarrier();
  var total = vec3f(0.0);
  if (lane < params.groupRows) {
    for (var i = lane; i < LANES / step * params.groupRows; i += params.groupRows) {
      total += parts[i];
    }
  }
  return total;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(subgroup_size) size: u32,
  @builtin(subgroup_invocation_id) laneInSubgroup: u32,
) {
  width = size;
  var number = 0u;
  if (subgroupElect()) {
    number = atomicAdd(&subgroupsSoFar, 1u);
  }
  number = subgroupBroadcastFirst(number);
  work(group.x, number * size + laneInSubgroup);
}
