/** Queries and keys on their way from a projection into attention: rotated, and head by head instead of token by token. */
import type { PositionPlan, RopeTable } from "../../api.ts";
import { positionsFrom, rotateHeads, rotation } from "../../position/rope.ts";
import type { HeadRows } from "./headRows.ts";

/** rows [C, heads, D] -> [heads, C, D], rotated to `positions` [C] (undefined: not at all) and times scale(token). */
export function turnedHeads(
  rows: Float32Array<ArrayBuffer>,
  heads: number,
  headDim: number,
  turn: { table: RopeTable; positions: ArrayLike<number> } | undefined,
  scale: (token: number) => number = () => 1,
): Float32Array<ArrayBuffer> {
  const turned = rows.slice();
  if (turn !== undefined) rotateHeads(turned, heads, headDim, rotation(turn.table, turn.positions));
  const count = rows.length / (heads * headDim);
  const byHead = new Float32Array(rows.length);
  for (let token = 0; token < count; token++) {
    const factor = scale(token);
    for (let head = 0; head < heads; head++) {
      const from = (token * heads + head) * headDim;
      const into = (head * count + token) * headDim;
      for (let i = 0; i < headDim; i++) byHead[into + i] = turned[from + i] * factor;
    }
  }
  return byHead;
}

/** Turns cached keys [length, G, D] of one copy from the positions of one plan to those of another, where they lie. */
export function repositionRows(
  keys: HeadRows,
  length: number,
  before: { plan: PositionPlan; copy: number },
  next: { plan: PositionPlan; copy: number },
): void {
  const factor = next.plan.table.attentionFactor / before.plan.table.attentionFactor;
  const pairs = next.plan.table.invFreq.length;
  const at = (plan: PositionPlan, copy: number): Float64Array =>
    positionsFrom(0, length, (position) => plan.copies[copy]?.(position) ?? position);
  const [from, to] = [at(before.plan, before.copy), at(next.plan, next.copy)];
  keys.forEachRow(length, (row, start, position) => {
    for (let pair = 0; pair < pairs; pair++) {
      const turn = to[position] * next.plan.table.invFreq[pair] - from[position] * before.plan.table.invFreq[pair];
      const [cos, sin] = [factor * Math.cos(turn), factor * Math.sin(turn)];
      const [a, b] = [row[start + pair], row[start + pair + pairs]];
      row[start + pair] = a * cos - b * sin;
      row[start + pair + pairs] = b * cos + a * sin;
    }
  });
}
