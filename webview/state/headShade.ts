/** What the grid of heads shows: one number of each head, and how it is said. Pure. */
import { DISTANCE_BUCKETS, SINK_KEYS, type HeadFacts } from "../../engine/attention/api.ts";
import { short } from "./words.ts";

export type HeadShade = "sinks" | "keys" | "distance";

export const headShades: Readonly<Record<HeadShade, { label: string; about: string }>> = {
  sinks: { label: "sink mass", about: `share of attention on the first ${SINK_KEYS} tokens` },
  keys: { label: "keys looked at", about: "e to the power of the entropy: how many tokens share a head's attention" },
  distance: { label: "distance", about: "half of a head's attention lies closer than this" },
};

/** The number, in tokens or as a share. */
export function headNumber({ sinkMass, entropy, distances }: HeadFacts, shade: HeadShade): number {
  if (shade === "sinks") return sinkMass;
  return shade === "keys" ? Math.exp(entropy) : medianDistance(distances);
}

export function headWords(facts: HeadFacts, shade: HeadShade): string {
  const number = headNumber(facts, shade);
  return shade === "sinks" ? `${(100 * number).toFixed(0)} %` : short(Math.round(number));
}

/** Place on a ramp, [0, 1]: shares as they are, numbers of tokens by their logarithm up to the largest. */
export function headPlace(facts: HeadFacts, all: readonly HeadFacts[], shade: HeadShade): number {
  const number = headNumber(facts, shade);
  if (shade === "sinks") return number;
  const most = all.reduce((largest, head) => Math.max(largest, headNumber(head, shade)), 1);
  return most <= 1 ? 0 : Math.log(Math.max(1, number)) / Math.log(most);
}

/** Buckets of a head's distances that hold something, with their range in words. */
export function distanceRows({ distances }: HeadFacts): { range: string; share: number }[] {
  const last = distances.reduce((found, share, bucket) => (share >= 0.0005 ? bucket : found), 0);
  return distances.slice(0, last + 1).map((share, bucket) => ({ range: rangeOf(bucket), share }));
}

function rangeOf(bucket: number): string {
  if (bucket <= 1) return bucket === 0 ? "itself" : "1";
  const from = 2 ** (bucket - 1);
  return bucket === DISTANCE_BUCKETS - 1 ? `${short(from)} and more` : `${short(from)}–${short(2 * from - 1)}`;
}

/** Where half of the attention is reached, evenly spread inside its bucket. */
function medianDistance(distances: readonly number[]): number {
  const half = distances.reduce((sum, share) => sum + share, 0) / 2;
  let sum = 0;
  for (const [bucket, share] of distances.entries()) {
    if (sum + share >= half && share > 0) {
      const from = bucket === 0 ? 0 : 2 ** (bucket - 1);
      return from * (1 + (half - sum) / share);
    }
    sum += share;
  }
  return 0;
}
