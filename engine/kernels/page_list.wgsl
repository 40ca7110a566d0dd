// page_list: what a chunk of queries sees of one slab of the cache; see attention/pageLists.ts, which writes it. Stands in front of a kernel
// whose parameters have the offsets below; a pattern (attention/api.ts) is given by what it has of near, columns, diagonals and blocks.
//   lists, from rangesAt on     [tokens] of (from, to, near, position): keys from <= j < to are causal and in the band; those from `near` on
//                               are seen whatever the pattern says; `position` is what ALiBi's distances are counted from
//          from tilesAt on      [query blocks, listHeads] of (first, count): the visits of a block of queries, as indices of pairs
//          pairs                (block of keys, where that block lies in the slab)
//          from columnsAt on    bits of keys, columnWords per head; from diagonalsAt on, bits of distances
//          from blocksAt on     [heads, query blocks] of blockWords: bits of blocks of keys
// Offsets that are NONE are absent. Strides per head are 0 where all heads see alike.
// Constants: BLOCK_TOKENS, PAGE_TOKENS.
@group(0) @binding(4) var<storage, read> lists: array<u32>;

const NONE = 0xffffffffu;

fn bitOf(at: u32, index: u32) -> bool {
  return ((lists[at + index / 32u] >> (index % 32u)) & 1u) == 1u;
}

// True where the query (of the sequence's token `query`) sees the key; both are within the query's range.
fn patternSees(head: u32, query: u32, near: u32, key: u32) -> bool {
  if (key >= near) {
    return true;
  }
  if (params.columnsAt != NONE) {
    if (bitOf(params.columnsAt + head * params.columnStride, key)) {
      return true;
    }
  }
  if (params.diagonalsAt != NONE) {
    if (bitOf(params.diagonalsAt + head * params.diagonalStride, query - key)) {
      return true;
    }
  }
  if (params.blocksAt != NONE) {
    let row = query / BLOCK_TOKENS - params.start / BLOCK_TOKENS;
    return bitOf(params.blocksAt + head * params.blockStride + row * params.blockWords, key / BLOCK_TOKENS);
  }
  return false;
}

// Row of a slab: keys and values lie as [pages, kvHeads, PAGE_TOKENS].
fn rowOf(slot: u32, kvHead: u32) -> u32 {
  return (slot / PAGE_TOKENS * params.kvHeads + kvHead) * PAGE_TOKENS + slot % PAGE_TOKENS;
}
