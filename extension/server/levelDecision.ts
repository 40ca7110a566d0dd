import type { Level } from "../../engine/pack/levels.ts";
import type { CountedEntry } from "./budgetTable.ts";
import type { Selection } from "./selection.ts";

/** The level of an entry, and in one line why. */
export interface LevelDecision {
  level: Level;
  reason: string;
}

/**
 * The level of the deepest key that holds the path; without one, files a program wrote and git's rows stay out and everything else
 * is whole. A file that cannot be outlined is whole where an outline was chosen.
 */
export function decideLevel(selection: Selection, entry: CountedEntry): LevelDecision {
  const chosen = selection.find(entry.path);
  const fitted = selection.fitReason(entry.path);
  if (!chosen) return fitted === undefined ? byDefault(entry) : { ...byDefault(entry), reason: fitted };
  const { key, level } = chosen;
  const { outline } = entry;
  if (level === "outline" && outline && "reason" in outline) return { level: "full", reason: `whole: ${outline.reason}` };
  const who = chosen.fitted ? "chosen by a fit" : "chosen";
  return { level, reason: (chosen.fitted ? fitted : undefined) ?? `${levelWords[level]}, ${who} ${placeWords(key, entry.path)}` };
}

export const levelWords: Record<Level, string> = {
  full: "whole",
  outline: "outline",
  name: "name only",
  excluded: "left out",
};

/** The level that a fit keeps: what the user chose, and what stays out by itself; undefined where a fit decides. */
export function pinnedLevel(selection: Selection, entry: CountedEntry): Level | undefined {
  const chosen = selection.find(entry.path);
  if (chosen && !chosen.fitted) return decideLevel(selection, entry).level;
  const { level } = byDefault(entry);
  return level === "excluded" ? level : undefined;
}

/** "for this file", "for src/", "for everything". */
export function placeWords(key: string, path: string): string {
  if (key === path) return path.endsWith("/") ? "for this folder" : "for this file";
  return key === "" ? "for everything" : `for ${key}`;
}

function byDefault({ kind, marks }: CountedEntry): LevelDecision {
  if (kind === "git") return { level: "excluded", reason: "left out until you choose it" };
  const suspect = marks.find((mark) => mark.kind === "minified" || mark.kind === "generated");
  if (suspect) return { level: "excluded", reason: `left out: ${suspect.message}` };
  return { level: "full", reason: "whole, because nothing else was chosen" };
}
