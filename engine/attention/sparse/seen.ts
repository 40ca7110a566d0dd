/** What each cached token saw of the keys, so that a map of attention shows what was computed. */
import { BLOCK_TOKENS, type Pattern } from "../api.ts";

/** Patterns of the tokens from `start` on, up to the next entry; undefined is every key. */
export interface SeenFrom {
  start: number;
  pattern: Pattern | undefined;
}

export interface SeenPatterns {
  /** The chunk of one layer that ends before `end`; anything known of tokens from `start` on goes. */
  add(layer: number, start: number, end: number, pattern: Pattern | undefined): void;
  /** Rising; empty where nothing is known any more. */
  of(layer: number): readonly SeenFrom[];
  /** Layers whose patterns took too much memory, the first ones first. */
  readonly forgotten: ReadonlySet<number>;
  readonly because: string;
  /** Forgets everything from `length` on. */
  cut(length: number): void;
}

/** Samples [first, end) of a list, whose tokens saw the keys alike; `shown` are the positions that the pattern is for. */
export interface SampleGroup {
  first: number;
  end: number;
  shown: { start: number; end: number };
  pattern: Pattern | undefined;
}

/** Samples at rising positions, by what they saw. */
export function sampleGroups(samples: readonly { position: number }[], seen: readonly SeenFrom[]): SampleGroup[] {
  const groups: SampleGroup[] = [];
  let entry = -1;
  for (const [index, { position }] of samples.entries()) {
    let found = Math.max(entry, 0);
    while (found + 1 < seen.length && seen[found + 1].start <= position) found++;
    const last = groups.at(-1);
    if (last !== undefined && found === entry) {
      last.end = index + 1;
      last.shown.end = position + 1;
      continue;
    }
    entry = found;
    const { start, pattern } = seen[found] ?? { start: 0, pattern: undefined };
    groups.push({ first: index, end: index + 1, shown: { start, end: position + 1 }, pattern });
  }
  return groups;
}

/** Patterns chosen by content take up to a bit for each key, distance, head and chunk. */
const MOST_BYTES = 256 * 2 ** 20;

export function openSeenPatterns(headCount: number, mostBytes = MOST_BYTES): SeenPatterns {
  const layers = new Map<number, (SeenFrom & { bytes: number })[]>();
  const forgotten = new Set<number>();
  let bytes = 0;

  function drop(layer: number, from: number): void {
    const kept = layers.get(layer) ?? [];
    while ((kept.at(-1)?.start ?? -1) >= from) bytes -= kept.pop()?.bytes ?? 0;
  }

  return {
    forgotten,
    because: `what their heads saw takes more than ${mostBytes / 2 ** 20} MiB`,
    add(layer, start, end, pattern) {
      if (forgotten.has(layer)) return;
      drop(layer, start);
      const known = layers.get(layer) ?? [];
      layers.set(layer, known);
      // What a head sees is kept for its own chunk only.
      const goesOn = known.at(-1)?.pattern === pattern && pattern?.perHead !== true;
      if (known.length > 0 && goesOn) return;
      const held = pattern?.perHead === true ? frozen(pattern, headCount, start, end) : { pattern, bytes: 0 };
      known.push({ start, ...held });
      bytes += held.bytes;
      while (bytes > mostBytes) {
        const first = Math.min(...layers.keys());
        drop(first, 0);
        layers.delete(first);
        forgotten.add(first);
      }
    },
    of: (layer) => layers.get(layer) ?? [],
    cut(length) {
      for (const layer of layers.keys()) drop(layer, length);
      if (length === 0) forgotten.clear();
    },
  };
}

/** The same pattern for the tokens start .. end - 1, without what it was made from. */
function frozen(pattern: Pattern, headCount: number, start: number, end: number): { pattern: Pattern; bytes: number } {
  const heads = Array.from({ length: headCount }, (_, head) => head);
  const words = Math.ceil(end / 32);
  const firstRow = Math.floor(start / BLOCK_TOKENS);
  const rows = Math.floor((end - 1) / BLOCK_TOKENS) - firstRow + 1;
  const columns = pattern.columns && heads.map((head) => pattern.columns?.(head, end).slice(0, words) ?? new Uint32Array(words));
  const distances =
    pattern.diagonals && heads.map((head) => pattern.diagonals?.(head, end).slice(0, words) ?? new Uint32Array(words));
  const blocks =
    pattern.blocks &&
    heads.map((head) => Array.from({ length: rows }, (_, row) => Uint32Array.from(pattern.blocks?.(head, firstRow + row) ?? [])));
  const run = end - pattern.near(end - 1);
  const bytes = [...(columns ?? []), ...(distances ?? []), ...(blocks ?? []).flat()].reduce(
    (sum, each) => sum + each.byteLength,
    0,
  );
  return {
    bytes,
    pattern: {
      ...{ key: pattern.key, perHead: true, near: (position) => Math.max(0, position - run + 1) },
      ...(columns === undefined ? {} : { columns: (head) => columns[head] }),
      ...(distances === undefined ? {} : { diagonals: (head) => distances[head] }),
      ...(blocks === undefined ? {} : { blocks: (head, row) => Array.from(blocks[head][row - firstRow]) }),
    },
  };
}
