import { EngineError } from "../../engine/errors.ts";
import { isLevel, type Level, type LevelMap, levels as knownLevels } from "../../engine/pack/levels.ts";
import type { FitWindow } from "./requests.ts";

/** A level and whether a fit chose it; what the user chose (also by opening a context set) is what a fit keeps. */
interface Choice {
  readonly level: Level;
  readonly fitted: boolean;
}

/** A choice that holds a path, with its key. */
export interface FoundChoice extends Choice {
  readonly key: string;
}

/** As it is kept between sessions. */
export interface StoredSelection {
  levels: LevelMap;
  /** Keys of `levels` that a fit chose. */
  fitted: readonly string[];
}

interface State {
  readonly choices: ReadonlyMap<string, Choice>;
  /** Why the last fit put a file where it is, by path; also of files that it kept whole, which have no key. */
  readonly fitReasons: ReadonlyMap<string, string>;
}

/** A fit changes the window too: from what, and to what. */
export interface WindowChange {
  from: FitWindow;
  to: FitWindow;
}

const nothing: State = { choices: new Map(), fitReasons: new Map() };

/** Changes that can be taken back, one after the other. */
const mostUndone = 100;

/** The levels by path, who chose them, and what they were before; see LevelMap. */
export class Selection {
  private state = nothing;
  /** Changes are part of a larger one. */
  private joined = false;
  private readonly past: { state: State; window: WindowChange | undefined }[] = [];

  /** The choice of the deepest key that holds a path; undefined where none does. */
  find(path: string): FoundChoice | undefined {
    if (this.state.choices.size === 0) return undefined;
    for (const key of keysAbove(path)) {
      const choice = this.state.choices.get(key);
      if (choice) return { key, ...choice };
    }
    return undefined;
  }

  /** Every choice that holds a path, the deepest first. */
  all(path: string): FoundChoice[] {
    return keysAbove(path).flatMap((key) => {
      const choice = this.state.choices.get(key);
      return choice ? [{ key, ...choice }] : [];
    });
  }

  fitReason(path: string): string | undefined {
    return this.state.fitReasons.get(path);
  }

  /** The user's levels beside those there are; a folder's replaces all below it. */
  set(levels: LevelMap): void {
    const given = readLevels(levels);
    const below = belowAny([...given.keys()].filter(isFolder));
    const choices = new Map([...this.state.choices].filter(([key]) => !below(key)));
    for (const [key, level] of given) choices.set(key, { level, fitted: false });
    const { fitReasons } = this.state;
    this.change({ choices, fitReasons: new Map([...fitReasons].filter(([path]) => !given.has(path) && !below(path))) });
  }

  /** The user's levels in place of all there are, as a context set has them. */
  replace(levels: LevelMap): void {
    const given = readLevels(levels);
    this.change({ choices: new Map([...given].map(([key, level]) => [key, { level, fitted: false }])), fitReasons: new Map() });
  }

  /** The levels of a fit beside the user's own, in place of those of an earlier fit. */
  fit(levels: LevelMap, reasons: ReadonlyMap<string, string>, window: WindowChange): void {
    const own = [...this.state.choices].filter(([, { fitted }]) => !fitted);
    const fitted = [...readLevels(levels)].map(([key, level]): [string, Choice] => [key, { level, fitted: true }]);
    this.change({ choices: new Map([...fitted, ...own]), fitReasons: new Map(reasons) }, window);
  }

  /** Forgets the choices for these paths and all below them; returns how many that were. */
  reset(paths: readonly string[]): number {
    const exact = new Set(paths);
    const below = belowAny(paths.filter(isFolder));
    const goes = (key: string): boolean => exact.has(key) || below(key);
    const { choices, fitReasons } = this.state;
    const kept = new Map([...choices].filter(([key]) => !goes(key)));
    const forgotten = choices.size - kept.size;
    if (forgotten > 0) this.change({ choices: kept, fitReasons: new Map([...fitReasons].filter(([path]) => !goes(path))) });
    return forgotten;
  }

  /** Makes one change, which is taken back as one, of several. */
  together(changes: () => void): void {
    const before = this.state;
    this.joined = true;
    try {
      changes();
    } finally {
      this.joined = false;
    }
    const after = this.state;
    this.state = before;
    if (after !== before) this.change(after);
  }

  /** Takes the last change back and says what else it had changed; undefined where there is none. */
  undo(): { window?: WindowChange } | undefined {
    const before = this.past.pop();
    if (!before) return undefined;
    this.state = before.state;
    return before.window ? { window: before.window } : {};
  }

  /** Keys sorted, as a context set has them. */
  levels(): LevelMap {
    const sorted = [...this.state.choices].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return Object.fromEntries(sorted.map(([key, { level }]) => [key, level]));
  }

  stored(): StoredSelection {
    const fitted = [...this.state.choices].filter(([, choice]) => choice.fitted).map(([key]) => key);
    return { levels: this.levels(), fitted };
  }

  /** Puts choices back that an earlier session made: no change that could be taken back. */
  restore({ levels, fitted }: StoredSelection): void {
    const byFit = new Set(fitted);
    const choices = [...readLevels(levels)].map(([key, level]): [string, Choice] => [key, { level, fitted: byFit.has(key) }]);
    this.state = { choices: new Map(choices), fitReasons: new Map() };
  }

  private change(next: State, window?: WindowChange): void {
    if (!this.joined) this.past.push({ state: this.state, window });
    if (this.past.length > mostUndone) this.past.shift();
    this.state = next;
  }
}

/** Checks levels that came over a wire or from a file; throws `bad-argument`. */
export function readLevels(value: unknown): Map<string, Level> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new EngineError("bad-argument", "the levels are no object", 'give { "path": "full" }');
  const read = new Map<string, Level>();
  for (const [path, level] of Object.entries(value)) {
    if (!isLevel(level)) {
      throw new EngineError("bad-argument", `"${path}" has the level ${JSON.stringify(level)}`, `use ${knownLevels.join(", ")}`);
    }
    read.set(path, level);
  }
  return read;
}

/** A folder's key ends in "/", that of everything is "". */
function isFolder(key: string): boolean {
  return key === "" || key.endsWith("/");
}

/** Whether a key lies below one of the folders; a folder does not lie below itself. */
function belowAny(folders: readonly string[]): (key: string) => boolean {
  const all = new Set(folders);
  return all.size === 0 ? () => false : (key) => keysAbove(key).some((above) => above !== key && all.has(above));
}

/** The path itself, the folders above it from the inside out, and "" for everything. A folder's path ends in "/". */
function keysAbove(path: string): string[] {
  const keys = [path];
  for (let at = path.lastIndexOf("/", path.length - 2); at > 0; at = path.lastIndexOf("/", at - 1))
    keys.push(path.slice(0, at + 1));
  if (path !== "") keys.push("");
  return keys;
}
