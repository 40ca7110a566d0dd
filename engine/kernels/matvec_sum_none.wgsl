// matvec_sum_none behind matvec, for software adapters, where a barrier costs more than it saves: every invocation sums a whole row.

fn sumOverParts(sums: vec3f, lane: u32) -> vec3f {
  return sums;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  work(group.x, lane);
}
