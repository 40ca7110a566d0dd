import type { Mentions } from "./mentions.ts";
import { namesPath } from "./mentions.ts";

/** What ranking knows about a file. */
export interface RankFile {
  path: string;
  /** Names that the file defines, and names that it uses; each once. */
  definitions: readonly string[];
  references: readonly string[];
  /** Last change in milliseconds since 1970; 0 where unknown. */
  mtimeMs: number;
}

export interface RankWishes {
  /** Files open in an editor. */
  open: ReadonlySet<string>;
  /** What the question names. */
  mentions: Mentions;
}

export interface Rank {
  /** At least 0; all ranks add up to 1. */
  rank: number;
  /** What raised it most, in words; undefined where it is only a file among others. */
  because: string | undefined;
}

/**
 * How much each file matters: PageRank over "uses a name that the other file defines", with restarts at what the user looks at. A name
 * counts as the inverse of how many files define it, and the less the more files use it; a name that very many files define links
 * nothing. The restart weight of a file is 1, times 20 when it is open, times 30 when the question names it, times 15 when it defines
 * a name of the question, times 4 when it uses one, up to times 2 for a recent change, and a third for tests, generated
 * files and lock files. One run is O(files + links) per round.
 */
export function rankFiles(files: readonly RankFile[], wishes: RankWishes): Map<string, Rank> {
  const latest = newest(files);
  const restarts = files.map((file) => restartOf(file, wishes, latest));
  const links = linksOf(files);
  const ranks = pageRank(
    restarts.map(({ weight }) => weight),
    links,
  );
  const usedBy = new Int32Array(files.length);
  for (const target of links.targets) usedBy[target] = (usedBy[target] ?? 0) + 1;
  return new Map(
    files.map(({ path }, i) => {
      const users = usedBy[i] ?? 0;
      const because = restarts[i]?.because ?? (users > 0 ? `${users} ${users === 1 ? "file uses" : "files use"} it` : undefined);
      return [path, { rank: ranks[i] ?? 0, because }];
    }),
  );
}

/** Links between files, all of one file's together: those of file i are [starts[i], starts[i + 1]). */
interface Links {
  starts: Int32Array;
  targets: Int32Array;
  /** Of one file's links, adding up to 1. */
  weights: Float64Array;
}

function linksOf(files: readonly RankFile[]): Links {
  const definedIn = new Map<string, number[]>();
  files.forEach(({ definitions }, i) => {
    for (const name of definitions) {
      const places = definedIn.get(name);
      if (places) places.push(i);
      else definedIn.set(name, [i]);
    }
  });
  const users = new Map<string, number>();
  for (const { references } of files)
    for (const name of references) if (definedIn.has(name)) users.set(name, (users.get(name) ?? 0) + 1);
  const starts = new Int32Array(files.length + 1);
  const targets: number[] = [];
  const weights: number[] = [];
  files.forEach(({ references }, i) => {
    const out = new Map<number, number>();
    for (const name of references) {
      const places = definedIn.get(name);
      if (!places || places.length > MOST_DEFINERS) continue;
      const weight = 1 / (places.length * Math.sqrt(users.get(name) ?? 1));
      for (const place of places) if (place !== i) out.set(place, (out.get(place) ?? 0) + weight);
    }
    let sum = 0;
    for (const weight of out.values()) sum += weight;
    for (const [target, weight] of out) {
      targets.push(target);
      weights.push(weight / sum);
    }
    starts[i + 1] = targets.length;
  });
  return { starts, targets: Int32Array.from(targets), weights: Float64Array.from(weights) };
}

/** A file without links gives its rank back to where restarts go. */
function pageRank(weights: readonly number[], { starts, targets, weights: shares }: Links): Float64Array {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const restart = Float64Array.from(weights, (weight) => weight / total);
  let ranks = restart.slice();
  for (let round = 0; round < ROUNDS; round++) {
    const next = new Float64Array(ranks.length);
    let loose = 0;
    for (let i = 0; i < ranks.length; i++) {
      const rank = ranks[i] ?? 0;
      const from = starts[i] ?? 0;
      const to = starts[i + 1] ?? 0;
      if (from === to) loose += rank;
      for (let link = from; link < to; link++) {
        const target = targets[link] ?? 0;
        next[target] = (next[target] ?? 0) + DAMPING * rank * (shares[link] ?? 0);
      }
    }
    const back = 1 - DAMPING + DAMPING * loose;
    for (let i = 0; i < next.length; i++) next[i] = (next[i] ?? 0) + back * (restart[i] ?? 0);
    ranks = next;
  }
  return ranks;
}

function restartOf(file: RankFile, { open, mentions }: RankWishes, newestMs: number): { weight: number; because?: string } {
  let weight = SECONDARY.test(file.path) ? 1 / 3 : 1;
  const because: string[] = [];
  const boost = (factor: number, why: string): void => {
    weight *= factor;
    because.push(why);
  };
  if (open.has(file.path)) boost(20, "open in an editor");
  if (namesPath(mentions, file.path)) boost(30, "the question names it");
  const defined = mentions.identifiers.find((name) => file.definitions.includes(name));
  const used = mentions.identifiers.find((name) => file.references.includes(name));
  if (defined !== undefined) boost(15, `it defines ${defined}`);
  else if (used !== undefined) boost(4, `it uses ${used}`);
  const ageDays = (newestMs - file.mtimeMs) / 86_400_000;
  if (file.mtimeMs > 0) weight *= 1 + Math.exp(-ageDays / 7);
  return because.length > 0 ? { weight, because: because.join(", ") } : { weight };
}

function newest(files: readonly RankFile[]): number {
  return files.reduce((latest, { mtimeMs }) => Math.max(latest, mtimeMs), 0);
}

/** The names of a text in any language: words behind a defining keyword, and all other words. Each once, in order. */
export function namesIn(text: string): { definitions: string[]; references: string[] } {
  const definitions = new Set<string>();
  for (const match of text.matchAll(DEFINITION)) if (match[1] !== undefined) definitions.add(match[1]);
  const references = new Set<string>();
  for (const [word] of text.matchAll(WORD)) if (word.length > 2 && !definitions.has(word)) references.add(word);
  return { definitions: [...definitions], references: [...references] };
}

const WORD = /[\p{L}_$][\p{L}\p{N}_$]*/gu;
const DEFINITION =
  /(?<![\p{L}\p{N}_$])(?:function\*?|class|const|let|var|def|func|fn|type|interface|enum|struct|trait|module|namespace)\s+(?:\([^)\n]*\)\s*)?([\p{L}_$][\p{L}\p{N}_$]*)/gu;
const SECONDARY =
  /(^|\/)(tests?|__tests__|spec|fixtures|generated|vendor)\/|\.(test|spec|unit|gen)\.|(^|\/)(package-lock\.json|[\w-]+\.lock)$/i;
const DAMPING = 0.85;
const ROUNDS = 20;
/** A name that more files define than this ("main", "index") says nothing about which one is meant. */
const MOST_DEFINERS = 16;
