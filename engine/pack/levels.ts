/** How much of a file goes into the prompt. */
export type Level = "full" | "outline" | "name" | "excluded";

/** Most to least; a solver goes down this list. */
export const levels = ["full", "outline", "name", "excluded"] as const satisfies readonly Level[];

/** Lines [first, last] of a file, 1-based and inclusive. */
export interface LineRange {
  first: number;
  last: number;
}

/** Levels by path; a key that ends in "/" is a folder, "" is everything, and the deepest key that holds a path wins. */
export type LevelMap = Readonly<Record<string, Level>>;

export function isLevel(value: unknown): value is Level {
  return levels.some((level) => level === value);
}
