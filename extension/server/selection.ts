import { EngineError } from "../../engine/errors.ts";
import { isLevel, type Level, type LevelMap, levels as knownLevels } from "../../engine/pack/levels.ts";

/** The user's levels by path, and what they were before; see LevelMap. */
export class Selection {
  private map = new Map<string, Level>();
  /** Why a key has its level, where something better than "you chose it" is known. */
  private reasons = new Map<string, string>();
  private readonly past: { map: Map<string, Level>; reasons: Map<string, string> }[] = [];

  /** The level of the deepest key that holds a path; undefined where none does. */
  find(path: string): { key: string; level: Level; reason: string | undefined } | undefined {
    for (const key of keysAbove(path)) {
      const level = this.map.get(key);
      if (level !== undefined) return { key, level, reason: this.reasons.get(key) };
    }
    return undefined;
  }

  /** Every key that holds a path, the deepest first. */
  all(path: string): { key: string; level: Level }[] {
    return keysAbove(path).flatMap((key) => {
      const level = this.map.get(key);
      return level === undefined ? [] : [{ key, level }];
    });
  }

  /** Sets levels beside those there are; a folder's level replaces all below it. */
  set(levels: LevelMap): void {
    const given = readLevels(levels);
    this.change((map, reasons) => {
      const folders = [...given.keys()].filter((key) => key === "" || key.endsWith("/"));
      for (const key of [...map.keys()]) {
        if (!folders.some((folder) => key !== folder && key.startsWith(folder))) continue;
        map.delete(key);
        reasons.delete(key);
      }
      for (const [key, level] of given) {
        map.set(key, level);
        reasons.delete(key);
      }
    });
  }

  /** Replaces all levels; `why` says for some keys what decided them. */
  replace(levels: LevelMap, why: ReadonlyMap<string, string> = new Map()): void {
    const given = readLevels(levels);
    this.change((map, reasons) => {
      map.clear();
      reasons.clear();
      for (const [key, level] of given) map.set(key, level);
      for (const [key, reason] of why) reasons.set(key, reason);
    });
  }

  /** Puts levels back that an earlier session chose: no change that could be taken back. */
  restore(levels: LevelMap): void {
    this.map = readLevels(levels);
  }

  /** Takes the last change back; false where there is none. */
  undo(): boolean {
    const before = this.past.pop();
    if (!before) return false;
    this.map = before.map;
    this.reasons = before.reasons;
    return true;
  }

  /** Keys sorted, as a context set has them. */
  levels(): LevelMap {
    return Object.fromEntries([...this.map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  }

  private change(apply: (map: Map<string, Level>, reasons: Map<string, string>) => void): void {
    this.past.push({ map: new Map(this.map), reasons: new Map(this.reasons) });
    if (this.past.length > mostUndone) this.past.shift();
    apply(this.map, this.reasons);
  }
}

/** Changes that can be taken back, one after the other. */
const mostUndone = 100;

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

/** The path itself, the folders above it from the inside out, and "" for everything. A folder's path ends in "/". */
function keysAbove(path: string): string[] {
  const keys = [path];
  for (let at = path.lastIndexOf("/", path.length - 2); at > 0; at = path.lastIndexOf("/", at - 1))
    keys.push(path.slice(0, at + 1));
  if (path !== "") keys.push("");
  return keys;
}
