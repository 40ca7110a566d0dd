/** A position plan at the positions of one shard, as plain data that crosses to a worker: functions do not. */
import type { PositionPlan } from "../../api.ts";
import type { Shard } from "./schedule.ts";

export interface PlainPlan {
  key: string;
  table: { invFreq: Float64Array<ArrayBuffer>; attentionFactor: number; key: string };
  /** Per band and token. */
  bands: readonly {
    copy: number;
    from: Float64Array<ArrayBuffer>;
    to: Float64Array<ArrayBuffer>;
    query: Float64Array<ArrayBuffer>;
  }[];
  /** Per copy and token: the position its key is rotated to. */
  copies: readonly Float64Array<ArrayBuffer>[];
  queryScale: Float64Array<ArrayBuffer>;
}

export function plainPlan(plan: PositionPlan, shard: Shard): PlainPlan {
  const at = (of: (position: number) => number): Float64Array<ArrayBuffer> => Float64Array.from(shard, of);
  const { invFreq, attentionFactor, key } = plan.table;
  return {
    key: plan.key,
    table: { invFreq: invFreq.slice(), attentionFactor, key },
    bands: plan.bands.map((band) => ({
      copy: band.copy,
      from: at((position) => band.keys(position)[0]),
      to: at((position) => band.keys(position)[1]),
      query: at((position) => band.queryPosition(position)),
    })),
    copies: plan.copies.map(at),
    queryScale: at((position) => plan.queryScale(position)),
  };
}

/** The plan again; it knows the positions of `shard` and throws a RangeError for any other. */
export function planOf(plain: PlainPlan, shard: Shard): PositionPlan {
  const places = new Map(Array.from(shard, (position, place) => [position, place]));
  const at = (values: Float64Array, position: number): number => {
    const value = values[places.get(position) ?? NaN];
    if (value === undefined) throw new RangeError(`position ${position} is on another rank`);
    return value;
  };
  return {
    key: plain.key,
    table: plain.table,
    bands: plain.bands.map(({ copy, from, to, query }) => ({
      copy,
      keys: (position) => [at(from, position), at(to, position)] as const,
      queryPosition: (position) => at(query, position),
    })),
    copies: plain.copies.map((positions) => (position) => at(positions, position)),
    queryScale: (position) => at(plain.queryScale, position),
  };
}
