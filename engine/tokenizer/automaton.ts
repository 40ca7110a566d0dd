import type { Alphabet } from "./alphabet.ts";
import type { Pattern } from "./pattern.ts";

/**
 * A pattern as a deterministic automaton that finds what a backtracking engine would, without going back: a state is the
 * list of ways that are still open, the preferred one first, and once a way is at its end those behind it are given up.
 */
export class Automaton {
  /** What happens in a state (its offset in here) at a character of a column: see `CUT`, `BACK` and `KEEP`. */
  readonly table: Int32Array;
  /** State to begin in, by the column of the character before; that of `END` at the start of the text. */
  readonly starts: Int32Array;
  /** Columns of the alphabet when this was made. */
  readonly columns: number;
  private readonly states: State[] = [];
  private readonly known = new Map<string, number>();
  /** For every column, which of the sets that the pattern looks for ahead or behind its characters are in. */
  private readonly ahead: readonly string[];
  private readonly behind: readonly string[];

  /** Throws RangeError where it has too many states. */
  constructor(
    private readonly pattern: Pattern,
    private readonly alphabet: Alphabet,
  ) {
    this.columns = alphabet.size;
    this.ahead = this.membersOf(true);
    this.behind = this.membersOf(false);
    const first = this.behind.map((_, before) => this.state([pattern.start], before));
    const moves: Move[][] = [];
    for (let at = 0; at < this.states.length; at++)
      moves.push(this.behind.map((_, column) => this.move(this.states[at], column)));
    this.starts = Int32Array.from(first, (state) => state * this.columns);
    this.table = this.encode(moves);
  }

  private membersOf(ahead: boolean): string[] {
    const sets = this.pattern.steps.flatMap((step) => (step.kind === "look" && step.ahead === ahead ? [step.set] : []));
    return Array.from({ length: this.columns }, (_, column) => sets.map((set) => +this.alphabet.has(column, set)).join(""));
  }

  private state(ways: readonly number[], before: number): number {
    const key = `${ways.join()} ${this.behind[before]}`;
    const known = this.known.get(key);
    if (known !== undefined) return known;
    if (this.states.length >= MAX_STATES) throw new RangeError(`the pattern has more than ${MAX_STATES} states`);
    const made = this.states.push({ ways, before, reached: new Map() }) - 1;
    this.known.set(key, made);
    return made;
  }

  private move(state: State, column: number): Move {
    const { takes, matched } = this.reach(state, column);
    const open: number[] = [];
    for (const { set, next } of takes) if (this.alphabet.has(column, set) && !open.includes(next)) open.push(next);
    return { to: open.length === 0 ? undefined : this.state(open, column), matched };
  }

  /** What a state comes to without taking a character; of the column only matters what the pattern looks for ahead. */
  private reach(state: State, column: number): Reached {
    const known = state.reached.get(this.ahead[column]);
    if (known) return known;
    const { steps } = this.pattern;
    const takes: Take[] = [];
    const seen = new Set<number>();
    /** True where a way ends the match, so that ways behind it no longer count. */
    const follow = (at: number): boolean => {
      if (seen.has(at)) return false;
      seen.add(at);
      const step = steps[at];
      switch (step.kind) {
        case "match":
          return true;
        case "split":
          return step.ways.some(follow);
        case "look":
          return this.alphabet.has(step.ahead ? column : state.before, step.set) === step.wanted && follow(step.next);
        case "char":
          takes.push(step);
          return false;
      }
    };
    const matched = state.ways.some(follow);
    const made = { takes, matched };
    state.reached.set(this.ahead[column], made);
    return made;
  }

  /** A match that is found on the way must be kept only where the way may end without one. */
  private encode(moves: readonly (readonly Move[])[]): Int32Array {
    const risky = new Uint8Array(moves.length);
    for (let changed = true; changed;) {
      changed = false;
      moves.forEach((row, state) => {
        if (risky[state] === 1) return;
        risky[state] = +row.some(({ to, matched }) => !matched && (to === undefined || risky[to] === 1));
        changed ||= risky[state] === 1;
      });
    }
    const table = new Int32Array(moves.length * this.columns);
    moves.forEach((row, state) => {
      row.forEach(({ to, matched }, column) => {
        const end = matched ? CUT : BACK;
        const kept = matched && to !== undefined && risky[to] === 1 ? KEEP : 0;
        table[state * this.columns + column] = to === undefined ? end : to * this.columns + kept;
      });
    });
    return table;
  }
}

/** Entries from here on are more than the offset of the next state: the match up to here is kept in case there is no longer one. */
export const KEEP = 0x1000_0000;
/** No way goes on, and the match ends in front of this character. */
export const CUT = 0x2000_0000;
/** No way goes on, and the match is the one last kept, if any. */
export const BACK = 0x2000_0001;

const MAX_STATES = 2000;

interface State {
  /** Steps of the pattern, the preferred one first. */
  readonly ways: readonly number[];
  /** Column of the character before, as far as the pattern looks behind. */
  readonly before: number;
  /** By what is ahead, see `Automaton.ahead`. */
  readonly reached: Map<string, Reached>;
}

interface Take {
  readonly set: number;
  readonly next: number;
}

interface Reached {
  /** Characters that ways go on with, the preferred one first. */
  readonly takes: readonly Take[];
  /** The pattern matches up to here. */
  readonly matched: boolean;
}

interface Move {
  readonly to: number | undefined;
  readonly matched: boolean;
}
