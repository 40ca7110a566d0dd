/** Patterns of keys and distances that follow from a formula: windows, first keys, strides. */
import type { Pattern } from "../api.ts";
import { bitsWhere } from "./bits.ts";

/** The last `window` keys, the query's own included. */
export function windowPattern(window: number): Pattern {
  return { key: `window:${window}`, perHead: false, near: lastKeys(window) };
}

/**
 * The first `sinks` keys and the last `window` (MInference's A-shape). Queries from `denseFrom` on see everything before them, which makes
 * it the tri-shape (arXiv 2412.10319) where the last queries of a prompt do.
 */
export function aShape(sinks: number, window: number, denseFrom = Infinity): Pattern {
  const near = lastKeys(window);
  const columns = bitsWhere((key) => key < sinks);
  return {
    key: `a-shape:${sinks},${window}${denseFrom === Infinity ? "" : `,dense from ${denseFrom}`}`,
    perHead: false,
    near: (position) => (position >= denseFrom ? 0 : near(position)),
    columns: (_, tokens) => columns(tokens),
  };
}

/** Longformer, causal: the last `window` keys and the global ones, which in turn see everything before them. `key` names window and globals. */
export function longformer(key: string, window: number, isGlobal: (key: number) => boolean): Pattern {
  const near = lastKeys(window);
  const columns = bitsWhere(isGlobal);
  return {
    key,
    perHead: false,
    near: (position) => (isGlobal(position) ? 0 : near(position)),
    columns: (_, tokens) => columns(tokens),
  };
}

/** Sparse Transformer, strided: the last `stride` keys and every `stride`-th before. */
export function strided(stride: number): Pattern {
  const diagonals = bitsWhere((distance) => distance % stride === 0);
  return { key: `strided:${stride}`, perHead: false, near: lastKeys(stride), diagonals: (_, tokens) => diagonals(tokens) };
}

/** Sparse Transformer, fixed: the query's own block of `stride` keys and the last `summary` keys of every block; without a summary, chunks. */
export function fixedBlocks(stride: number, summary: number): Pattern {
  const columns = bitsWhere((key) => key % stride >= stride - summary);
  return {
    key: `fixed:${stride},${summary}`,
    perHead: false,
    near: (position) => position - (position % stride),
    columns: (_, tokens) => columns(tokens),
  };
}

function lastKeys(window: number): Pattern["near"] {
  return (position) => Math.max(0, position - window + 1);
}
