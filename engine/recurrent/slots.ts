/**
 * Which lengths a recurrent model can go back to. There is a fixed number of places for copies of the state, so that memory does not grow
 * with what is read; when all are taken, the copy that is missed least makes room: the one whose neighbours lie closest together in
 * comparison with how long ago it was. So copies are close together near the end and ever farther apart towards the beginning.
 */
export interface SnapshotSlots {
  /** Place for a copy of the state behind `length` tokens, which is not less than any length kept; undefined where that is kept already. */
  place(length: number): number | undefined;
  /** The longest kept length that is at most `length`; undefined stands for the empty state, which needs no copy. */
  newest(length: number): { slot: number; length: number } | undefined;
  /** Forgets what is longer than `length`. */
  cut(length: number): void;
  /** Lengths kept, rising. */
  readonly lengths: readonly number[];
}

/** Memory for copies where nobody says otherwise. */
const SNAPSHOT_BYTES = 256 * 2 ** 20;
/** The state one token before the end, and that at the end, are always worth keeping. */
const FEWEST = 2;
/** More copies would only be closer together than it takes to read what lies between. */
const MOST = 16;

/** How many copies of a state of `stateBytes` bytes a runner keeps. */
export function slotCount(stateBytes: number, budgetBytes = SNAPSHOT_BYTES): number {
  return Math.max(FEWEST, Math.min(MOST, Math.floor(budgetBytes / stateBytes)));
}

export function openSlots(count: number): SnapshotSlots {
  let kept: { slot: number; length: number }[] = [];
  const free = (): number | undefined => {
    const taken = new Set(kept.map(({ slot }) => slot));
    return Array.from({ length: count }, (_, slot) => slot).find((slot) => !taken.has(slot));
  };

  return {
    place(length) {
      if (kept.at(-1)?.length === length) return undefined;
      const slot =
        free() ??
        kept.splice(
          leastMissed(
            kept.map((entry) => entry.length),
            length,
          ),
          1,
        )[0]?.slot ??
        0;
      kept.push({ slot, length });
      return slot;
    },
    newest: (length) => kept.findLast((entry) => entry.length <= length),
    cut(length) {
      kept = kept.filter((entry) => entry.length <= length);
    },
    get lengths() {
      return kept.map((entry) => entry.length);
    },
  };
}

/** Index of the length to give up for a new one, `end`. */
function leastMissed(lengths: readonly number[], end: number): number {
  let least = Infinity;
  let index = 0;
  for (const [i, length] of lengths.entries()) {
    const gap = (lengths[i + 1] ?? end) - (lengths[i - 1] ?? 0);
    const missed = gap / (end - length);
    if (missed < least) {
      least = missed;
      index = i;
    }
  }
  return index;
}
