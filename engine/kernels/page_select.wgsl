// page_select: the pages that a decoded token reads of each kv head: the last one, its own, and of the others those of the largest scores,
// of equal ones the first, `count` in all; written as the lists that attn_decode reads with visits of one page.
//   scores [kvHeads, scoreStride]: page_score.wgsl, for pages 0 .. pages - 1; UNSEEN ones are never taken
//   lists  from bordersAt on [slabs + 1]: the first page of each slab, and the end of the last
//          from tablesAt on  [slabs, kvHeads] of (first, count), written here: the visits in one slab, as indices of pairs
//          from pairsAt on   [kvHeads, count] of (page, page of the slab), written here, pages rising
// One workgroup for each kv head; nothing is sorted. Scores become integers of the same order, of which the count-th largest is found digit
// by digit of 8 bits, counting the pages of each digit. Then each invocation takes a run of pages, and knows from the counts of those before
// it where its own go. Reference: bestPages() in attention/patterns/quest.ts.
struct Params {
  pages: u32,
  count: u32,
  scoreStride: u32,
  slabs: u32,
  bordersAt: u32,
  tablesAt: u32,
  pairsAt: u32,
  kvHeads: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> lists: array<u32>;

const LANES = 256u;
const UNSEEN = -3e38;
const OWN = 0xffffffffu;
var<workgroup> digits: array<atomic<u32>, LANES>;
var<workgroup> cut: u32;
var<workgroup> wanted: u32;
var<workgroup> aboveOf: array<u32, LANES>;
var<workgroup> equalOf: array<u32, LANES>;
var<workgroup> takenOf: array<u32, LANES>;

// The score as an integer that orders like it; 0 for a page that is not seen, OWN for the last.
fn keyOf(kvHead: u32, page: u32) -> u32 {
  if (page + 1u == params.pages) {
    return OWN;
  }
  let score = scores[kvHead * params.scoreStride + page];
  if (score <= UNSEEN) {
    return 0u;
  }
  // Zero has two signs, and they are equal.
  let bits = select(bitcast<u32>(score), 0u, score == 0.0);
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// Index of the head's first pair whose page is not below `page`, among `taken` rising ones.
fn pairFrom(kvHead: u32, taken: u32, page: u32) -> u32 {
  var low = 0u;
  var high = taken;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (lists[params.pairsAt + 2u * (kvHead * params.count + middle)] < page) {
      low = middle + 1u;
    } else {
      high = middle;
    }
  }
  return low;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let kvHead = group.x;
  if (lane == 0u) {
    cut = 0u;
    wanted = params.count;
  }
  for (var round = 0u; round < 4u; round++) {
    let shift = 24u - 8u * round;
    atomicStore(&digits[lane], 0u);
    workgroupBarrier();
    let known = cut;
    for (var page = lane; page < params.pages; page += LANES) {
      let key = keyOf(kvHead, page);
      // The digits in front of this one are those of the cut. A shift by 32 would be none, so it takes two.
      if (key != 0u && (((key ^ known) >> shift) >> 8u) == 0u) {
        atomicAdd(&digits[(key >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    if (lane == 0u) {
      var rest = wanted;
      var digit = 255u;
      while (digit > 0u && atomicLoad(&digits[digit]) < rest) {
        rest -= atomicLoad(&digits[digit]);
        digit--;
      }
      cut = known | (digit << shift);
      wanted = rest;
    }
    workgroupBarrier();
  }

  let share = (params.pages + LANES - 1u) / LANES;
  let first = min(lane * share, params.pages);
  let end = min(first + share, params.pages);
  var above = 0u;
  var equal = 0u;
  for (var page = first; page < end; page++) {
    let key = keyOf(kvHead, page);
    above += select(0u, 1u, key > cut);
    equal += select(0u, 1u, key == cut && key != 0u);
  }
  aboveOf[lane] = above;
  equalOf[lane] = equal;
  workgroupBarrier();
  var equalBefore = 0u;
  var place = 0u;
  for (var i = 0u; i < lane; i++) {
    place += aboveOf[i];
    equalBefore += equalOf[i];
  }
  place += min(equalBefore, wanted);
  var free = wanted - min(equalBefore, wanted);
  var slab = 0u;
  for (var page = first; page < end; page++) {
    let key = keyOf(kvHead, page);
    var taken = key > cut;
    if (key == cut && key != 0u && free > 0u) {
      taken = true;
      free--;
    }
    if (taken) {
      while (lists[params.bordersAt + slab + 1u] <= page) {
        slab++;
      }
      let pair = params.pairsAt + 2u * (kvHead * params.count + place);
      lists[pair] = page;
      lists[pair + 1u] = page - lists[params.bordersAt + slab];
      place++;
    }
  }
  takenOf[lane] = place;
  storageBarrier();
  workgroupBarrier();

  // The last run of pages ends where all do.
  let taken = takenOf[LANES - 1u];
  for (var s = lane; s < params.slabs; s += LANES) {
    let firstPair = pairFrom(kvHead, taken, lists[params.bordersAt + s]);
    let pairEnd = pairFrom(kvHead, taken, lists[params.bordersAt + s + 1u]);
    let table = params.tablesAt + 2u * (s * params.kvHeads + kvHead);
    lists[table] = kvHead * params.count + firstPair;
    lists[table + 1u] = pairEnd - firstPair;
  }
}
