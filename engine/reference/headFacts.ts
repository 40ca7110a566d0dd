/** What a head does, from its rows of softmax weights. */
import { DISTANCE_BUCKETS, SINK_KEYS, type HeadFacts } from "../attention/api.ts";

/** Adds up rows of one head. */
export class HeadSums {
  private queries = 0;
  private sink = 0;
  private entropy = 0;
  private readonly distances = new Float64Array(DISTANCE_BUCKETS);

  /** `weights` [position + 1] of one query, summing to 1. */
  add(weights: ArrayLike<number>, position: number): void {
    this.queries++;
    for (let key = 0; key < weights.length; key++) {
      const weight = weights[key];
      if (weight === 0) continue;
      if (key < SINK_KEYS) this.sink += weight;
      this.entropy -= weight * Math.log(weight);
      this.distances[bucketOf(position - key)] += weight;
    }
  }

  facts(layer: number, head: number): HeadFacts {
    const mean = (sum: number): number => sum / Math.max(1, this.queries);
    return { layer, head, sinkMass: mean(this.sink), entropy: mean(this.entropy), distances: Array.from(this.distances, mean) };
  }
}

/** 0 for distance 0, b for 2^(b - 1) .. 2^b - 1. */
export function bucketOf(distance: number): number {
  return Math.min(DISTANCE_BUCKETS - 1, distance === 0 ? 0 : 32 - Math.clz32(distance));
}

/** At most `most` of the positions, evenly spread, the last among them. */
export function spread<T>(positions: readonly T[], most: number): T[] {
  const count = Math.min(positions.length, most);
  return Array.from({ length: count }, (_, index) => positions[Math.floor(((index + 1) * positions.length) / count) - 1]);
}
