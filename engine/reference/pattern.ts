/** What a pattern lets a query see, key by key: the specification of every page list. */
import { BLOCK_TOKENS, type Pattern } from "../attention/api.ts";
import { hasBit } from "../attention/patterns/bits.ts";

/** True where `pattern` shows the key to the query of this head, both as positions; whether bands show it too is theirs to say. */
export function visible(pattern: Pattern, head: number, query: number, key: number, blockTokens = BLOCK_TOKENS): boolean {
  return visibleKeys(pattern, head, query, blockTokens)(key);
}

/** The same for all keys of one query. */
export function visibleKeys(pattern: Pattern, head: number, query: number, blockTokens = BLOCK_TOKENS): (key: number) => boolean {
  const own = pattern.perHead ? head : 0;
  const near = pattern.near(query);
  const columns = pattern.columns?.(own, query + 1);
  const diagonals = pattern.diagonals?.(own, query + 1);
  const blocks = new Set(pattern.blocks?.(own, Math.floor(query / blockTokens)));
  return (key) =>
    key <= query &&
    (key >= near ||
      (columns !== undefined && hasBit(columns, key)) ||
      (diagonals !== undefined && hasBit(diagonals, query - key)) ||
      blocks.has(Math.floor(key / blockTokens)));
}
