// chosen_pages: what a sampled query sees where it may have been decoded by top pages. Stands behind page_list.wgsl.
//   lists, from chosenAt on [samples]: where the pages of each sample begin, NONE where it sees what its pattern shows; there
//          [kvHeads, chosenCount] of (page, place), pages rising: page_select.wgsl
// Constants: UNIT (keys of a page).
fn sampleSees(sample: u32, head: u32, kvHead: u32, query: u32, near: u32, key: u32) -> bool {
  if (params.chosenAt != NONE) {
    let pairs = lists[params.chosenAt + sample];
    if (pairs != NONE) {
      let first = pairs + 2u * kvHead * params.chosenCount;
      var low = 0u;
      var high = params.chosenCount;
      while (low < high) {
        let middle = (low + high) / 2u;
        if (lists[first + 2u * middle] < key / UNIT) {
          low = middle + 1u;
        } else {
          high = middle;
        }
      }
      return low < params.chosenCount && lists[first + 2u * low] == key / UNIT;
    }
  }
  return patternSees(head, query, near, key);
}
