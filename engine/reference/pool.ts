/** Pooled attention in plain loops, and the checks of a request that every backend makes. */
import { MAX_POOL_CELLS, type DecoderSpec, type PooledAttention, type PoolRequest, type Runner } from "../api.ts";
import { EngineError } from "../errors.ts";
import { attentionRow, type ScoredLayer } from "./attend.ts";

/** What a backend can be asked about now. */
export interface PoolFacts {
  spec: DecoderSpec;
  /** Tokens in the cache. */
  length: number;
  tap: Runner["tap"];
}

/**
 * Cells as PoolRequest defines them; `tapped` gives queries and keys of all cached tokens. Keys beyond the bins count in the softmax and in no cell.
 * Throws what `checkPoolRequest` throws; `betweenRows` is awaited after each row of cells.
 */
export async function poolAttention(
  request: PoolRequest,
  facts: PoolFacts,
  tapped: (layer: number) => ScoredLayer,
  betweenRows: () => Promise<void>,
): Promise<PooledAttention> {
  const { layers, heads } = checkPoolRequest(request, facts);
  const { queryEdges, keyEdges } = request;
  const rows = queryEdges.length - 1;
  const columns = keyEdges.length - 1;
  const cells = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const sums = new Float64Array(columns);
    for (const layer of layers) {
      const scored = tapped(layer);
      for (const head of heads) {
        for (let query = queryEdges[row]; query < queryEdges[row + 1]; query++) {
          addBins(sums, attentionRow(scored, facts.spec, query, head, query), keyEdges);
        }
      }
    }
    const count = layers.length * heads.length * (queryEdges[row + 1] - queryEdges[row]);
    cells.set(
      sums.map((sum) => sum / count),
      row * columns,
    );
    await betweenRows();
  }
  return { rows, columns, cells };
}

/** The layers and heads a request averages over. Throws `bad-argument` or `limit-exceeded` for one that has no answer. */
export function checkPoolRequest(
  request: PoolRequest,
  facts: PoolFacts,
): { layers: readonly number[]; heads: readonly number[] } {
  checkEdges("queryEdges", request.queryEdges, facts.length);
  checkEdges("keyEdges", request.keyEdges, facts.length);
  checkQueriesKept(request, facts);
  const { headCount } = facts.spec;
  const heads = request.head === "mean" ? Array.from({ length: headCount }, (_, head) => head) : [request.head];
  if (request.head !== "mean" && !(Number.isInteger(request.head) && request.head >= 0 && request.head < headCount)) {
    throw new EngineError(
      "bad-argument",
      `there is no head ${request.head}`,
      `choose a head from 0 to ${headCount - 1}, or the mean`,
    );
  }
  if (facts.tap.layers.length === 0) {
    throw new EngineError(
      "bad-argument",
      `no layer's queries were kept: ${facts.tap.because}`,
      "give the attention tap more memory",
    );
  }
  if (request.layer === "mean") return { layers: facts.tap.layers, heads };
  if (facts.tap.layers.includes(request.layer)) return { layers: [request.layer], heads };
  const message = `the queries of layer ${request.layer} were not kept: ${facts.tap.because}`;
  throw new EngineError("bad-argument", message, `choose one of the layers ${facts.tap.layers.join(", ")}`);
}

/** Throws `bad-argument` for queries of tokens that were restored. */
function checkQueriesKept({ queryEdges }: PoolRequest, { tap }: PoolFacts): void {
  const { from = 0 } = tap;
  const first = queryEdges[0] ?? 0;
  if (first >= from) return;
  const message = `the first ${from} tokens were restored, not computed, so nobody knows where they looked`;
  throw new EngineError("bad-argument", message, `ask from token ${from} on`, { fromToken: from });
}

/** Strictly rising token positions up to the length: an empty bin would be a mean over nothing. */
function checkEdges(name: "queryEdges" | "keyEdges", edges: Uint32Array, length: number): void {
  if (edges.length < 2) throw new EngineError("bad-argument", `${name} has ${edges.length} edges`, "give at least two edges");
  if (edges.length - 1 > MAX_POOL_CELLS) {
    const message = `${name} asks for ${edges.length - 1} cells`;
    throw new EngineError("limit-exceeded", message, `ask for at most ${MAX_POOL_CELLS} cells a side`);
  }
  const falling = edges.findIndex((edge, index) => index > 0 && edge <= edges[index - 1]);
  if (falling > 0) {
    throw new EngineError(
      "bad-argument",
      `${name} must rise: ${edges[falling]} follows ${edges[falling - 1]}`,
      "give rising token positions",
    );
  }
  const last = edges[edges.length - 1];
  if (last > length)
    throw new EngineError(
      "bad-argument",
      `${name} ends at ${last}, behind the ${length} tokens in the cache`,
      `end at ${length} at most`,
    );
}

function addBins(sums: Float64Array, weights: Float64Array, keyEdges: Uint32Array): void {
  for (let column = 0; column < sums.length; column++) {
    const end = Math.min(keyEdges[column + 1], weights.length);
    for (let key = keyEdges[column]; key < end; key++) sums[column] += weights[key];
  }
}
