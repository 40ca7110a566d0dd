import type { LevelMap } from "../../engine/pack/levels.ts";

/** The map without the keys at and below the paths; a folder's path ends in "/", "" is everything. */
export function withoutPaths(levels: LevelMap, paths: readonly string[]): LevelMap {
  const exact = new Set(paths);
  const folders = paths.filter((path) => path === "" || path.endsWith("/"));
  const rest = Object.entries(levels).filter(([key]) => !exact.has(key) && !folders.some((folder) => key.startsWith(folder)));
  return Object.fromEntries(rest);
}
