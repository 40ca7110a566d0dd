/**
 * A Llama, or the same with linear biases, as written on paper: every score of every query and key in one table, a mask over it, one softmax.
 * It shares norms, products and rotation with the engine's reference, and nothing of its attention.
 */
import type { DecoderSpec } from "../../engine/api.ts";
import { layerNames } from "../../engine/models/weights.ts";
import { alibiSlopes } from "../../engine/position/alibi.ts";
import { rotateHeads, rotation64 } from "../../engine/position/rope.ts";
import { ropeBase, ropeTable } from "../../engine/position/scaling.ts";
import { addInPlace, alloc64, embed, gateMultiply, linear, rmsNorm } from "../../engine/reference/ops.ts";

/** What a mask may look at: exact attention of one layer. */
export interface BruteLayer {
  /** Position of a key's rotation and of the query that meets it; its own where nothing is evicted. */
  queries: (head: number, query: number) => Float64Array;
  keys: (head: number, key: number) => Float64Array;
  /** Softmax over all keys up to the query. */
  weights: (head: number, query: number) => Float64Array;
}

export interface BruteOptions {
  sees: (layer: BruteLayer, head: number, query: number, key: number) => boolean;
  /** Position of a query as that key meets it. */
  queryPosition?: (query: number, key: number) => number;
}

/** Logits [T, V] of `ids`, and the weights of the last layer [H][T][T]. */
export function bruteLogits(
  spec: DecoderSpec,
  tensors: ReadonlyMap<string, Float64Array>,
  ids: readonly number[],
  { sees, queryPosition = (query) => query }: BruteOptions,
): { logits: Float64Array; weights: number[][][] } {
  const { hiddenSize: E, headCount: H, kvHeadCount: G, headDim: D, attentionScale, normEps } = spec;
  const tensor = (name: string): Float64Array => {
    const values = tensors.get(name);
    if (values === undefined) throw new Error(`no tensor ${name}`);
    return values;
  };
  const project = (x: Float64Array, name: string, inner: number): Float64Array =>
    Float64Array.from(linear(alloc64, x, tensor(name), undefined, inner));
  const norm = (x: Float64Array, name: string): Float64Array => Float64Array.from(rmsNorm(alloc64, x, tensor(name), normEps));
  const slopes = spec.alibi === undefined ? undefined : alibiSlopes(H, spec.alibi.maxBias);
  const table =
    slopes === undefined ? ropeTable(spec.rope as Parameters<typeof ropeTable>[0], ropeBase(spec), ids.length) : undefined;
  const turned = (row: Float64Array, position: number): Float64Array => {
    const copy = row.slice();
    if (table !== undefined) rotateHeads(copy, 1, D, rotation64(table, [position]));
    return copy;
  };
  const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const softmax = (scores: number[]): Float64Array => {
    const most = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - most));
    const sum = powers.reduce((total, power) => total + power, 0);
    return Float64Array.from(powers, (power) => power / sum);
  };

  let weights: number[][][] = [];
  const x = Float64Array.from(embed(alloc64, tensor("model.embed_tokens.weight"), ids, E, spec.embeddingMultiplier));
  for (let layer = 0; layer < spec.layerCount; layer++) {
    const names = layerNames(spec, layer);
    const h = norm(x, names.attentionNorm.weight);
    const [q, k, v] = [names.query, names.key, names.value].map(({ weight }) => project(h, weight, E));
    const kvHeadOf = (head: number): number => head / (H / G) - ((head / (H / G)) % 1);
    const bareQuery = (head: number, query: number): Float64Array => q.slice((query * H + head) * D, (query * H + head + 1) * D);
    const keyRow = (rows: Float64Array, head: number, key: number): Float64Array =>
      rows.slice((key * G + kvHeadOf(head)) * D, (key * G + kvHeadOf(head) + 1) * D);
    const keys = ids.map((_, key) => Array.from({ length: H }, (_, head) => turned(keyRow(k, head, key), key)));
    const scoreAt = (head: number, query: number, key: number, position: number): number =>
      dot(turned(bareQuery(head, query), position), keys[key][head]) * attentionScale - (slopes?.[head] ?? 0) * (position - key);
    const exact = new Map<string, Float64Array>();
    const facts: BruteLayer = {
      queries: (head, query) => turned(bareQuery(head, query), query),
      keys: (head, key) => keys[key][head],
      weights(head, query) {
        const known = exact.get(`${head} ${query}`);
        if (known !== undefined) return known;
        const made = softmax(Array.from({ length: query + 1 }, (_, key) => scoreAt(head, query, key, query)));
        exact.set(`${head} ${query}`, made);
        return made;
      },
    };
    const attended = new Float64Array(ids.length * H * D);
    weights = Array.from({ length: H }, (_, head) =>
      ids.map((_, query) => {
        const scores = ids.map((_, key) =>
          key <= query && sees(facts, head, query, key) ? scoreAt(head, query, key, queryPosition(query, key)) : -Infinity,
        );
        const row = softmax(scores);
        for (const [key, weight] of row.entries()) {
          const value = keyRow(v, head, key);
          for (let i = 0; i < D; i++) attended[(query * H + head) * D + i] += weight * value[i];
        }
        return [...row];
      }),
    );
    addInPlace(x, project(attended, names.output.weight, H * D));
    const m = norm(x, names.mlpNorm.weight);
    const gate = names.gate === undefined ? undefined : project(m, names.gate.weight, E);
    const active = gateMultiply(alloc64, spec.activation, gate, project(m, names.up.weight, E));
    addInPlace(x, project(Float64Array.from(active), names.down.weight, spec.intermediateSize));
  }
  const head = spec.tiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  return { logits: project(norm(x, "model.norm.weight"), head, E), weights };
}
