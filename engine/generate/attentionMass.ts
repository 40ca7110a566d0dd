import { MAX_POOL_CELLS, type PooledAttention, type PoolRequest } from "../api.ts";

/** Token positions [start, end). */
export interface TokenRange {
  start: number;
  end: number;
}

export type Pool = (request: PoolRequest) => Promise<PooledAttention>;

/**
 * Share of the attention of queries in `queries` that falls on each of some disjoint key ranges, averaged over the tapped
 * layers and all heads. Pooled in as many calls as the largest map asks for.
 */
export async function attentionMass(pool: Pool, queries: TokenRange, ranges: readonly TokenRange[]): Promise<number[]> {
  const mass = new Array<number>(ranges.length).fill(0);
  const order = ranges.map((_, i) => i).sort((a, b) => (ranges[a]?.start ?? 0) - (ranges[b]?.start ?? 0));
  // Two edges a range at most, and one cell fewer than edges.
  const perCall = Math.floor(MAX_POOL_CELLS / 2);
  for (let from = 0; from < order.length; from += perCall) {
    const chosen = order.slice(from, from + perCall).filter((i) => isFilled(ranges[i]));
    if (chosen.length === 0) continue;
    const edges = [...new Set(chosen.flatMap((i) => [ranges[i]?.start ?? 0, ranges[i]?.end ?? 0]))].sort((a, b) => a - b);
    const { cells } = await pool({
      layer: "mean",
      head: "mean",
      queryEdges: Uint32Array.of(queries.start, queries.end),
      keyEdges: Uint32Array.from(edges),
    });
    for (const i of chosen) mass[i] = cells[edges.indexOf(ranges[i]?.start ?? 0)] ?? 0;
  }
  return mass;
}

function isFilled(range: TokenRange | undefined): boolean {
  return range !== undefined && range.end > range.start;
}
