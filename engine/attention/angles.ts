import type { RopeTable } from "../api.ts";
import { rotation } from "../position/rope.ts";

/**
 * Angles of a chunk as rope_apply.wgsl reads them, [tokens, 2, pairs + 1] of (cos, sin): those of queries, then those of keys, each with its
 * scale behind; `scale` is that of the query of a token.
 */
export function angleRows(
  table: RopeTable,
  queryPositions: ArrayLike<number>,
  keyPositions: ArrayLike<number>,
  scale: (token: number) => number,
): Float32Array<ArrayBuffer> {
  const tokens = queryPositions.length;
  const pairs = table.invFreq.length;
  const rows = new Float32Array(tokens * 4 * (pairs + 1));
  for (const [which, positions] of [queryPositions, keyPositions].entries()) {
    const { cos, sin } = rotation(table, positions);
    for (let token = 0; token < tokens; token++) {
      const at = (2 * token + which) * 2 * (pairs + 1);
      for (let pair = 0; pair < pairs; pair++) {
        rows[at + 2 * pair] = cos[token * pairs + pair];
        rows[at + 2 * pair + 1] = sin[token * pairs + pair];
      }
      rows[at + 2 * pairs] = which === 0 ? scale(token) : 1;
    }
  }
  return rows;
}
