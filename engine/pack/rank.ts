import { type Mentions, namesPath } from "./mentions.ts";
import { nameId } from "./names.ts";

/** What ranking knows about a file. */
export interface RankFile {
  path: string;
  /** Names that the file defines, and names that it uses: ascending numbers, see `nameId`. */
  definitions: Int32Array;
  references: Int32Array;
  /** Last change in milliseconds since 1970; 0 where unknown. */
  mtimeMs: number;
}

export interface RankWishes {
  /** Files open in an editor. */
  open: ReadonlySet<string>;
  /** Files that the user chose for the pack: what they use matters more. */
  pinned: ReadonlySet<string>;
  /** What the question names. */
  mentions: Mentions;
}

export interface Rank {
  /** At least 0; all ranks add up to 1. */
  rank: number;
  /** What raised or lowered it, in words, the strongest first; empty where it is only a file among others. */
  reasons: readonly string[];
}

/**
 * How much each file matters: PageRank over "uses a name that the other file defines", with restarts at what the user looks at.
 *
 * A name links its users to its definers with 1 / (definers * sqrt(users)), so that common names say little; one that more than
 * MOST_DEFINERS files define links nothing.
 * The restart weight of a file is 1, raised by the factors of BOOSTS (open, named by the question, chosen, defining or using a name of the
 * question), by up to 2 for a change close to the newest one, and lowered for tests, documents and generated files unless the
 * question names them. Every factor is one of the reasons. O(names + links) and ROUNDS rounds over the links.
 */
export function rankFiles(files: readonly RankFile[], wishes: RankWishes): Map<string, Rank> {
  const changes = new Changes(files);
  const restarts = files.map((file) => restartOf(file, wishes, changes));
  const links = linksOf(files);
  const ranks = pageRank(
    restarts.map(({ weight }) => weight),
    links,
  );
  return new Map(
    files.map(({ path }, i) => [path, { rank: ranks[i] ?? 0, reasons: reasonsOf(restarts[i], links.users[i] ?? 0) }]),
  );
}

/** Links between files, all of one file's together: those of file i are [starts[i], starts[i + 1]). */
interface Links {
  starts: Int32Array;
  targets: Int32Array;
  /** Of one file's links, adding up to 1. */
  weights: Float64Array;
  /** Files that link to each file. */
  users: Int32Array;
}

function linksOf(files: readonly RankFile[]): Links {
  const { definers, used, usedFrom } = namesOf(files);
  const userCounts = new Int32Array(definers.length);
  for (const name of used) userCounts[name] = (userCounts[name] ?? 0) + 1;
  const shares = definers.map(({ length }, name) => 1 / (length * Math.sqrt(userCounts[name] ?? 1)));
  const starts = new Int32Array(files.length + 1);
  const users = new Int32Array(files.length);
  const targets: number[] = [];
  const weights: number[] = [];
  const sums = new Float64Array(files.length);
  for (let i = 0; i < files.length; i++) {
    const from = targets.length;
    let total = 0;
    for (let at = usedFrom[i] ?? 0; at < (usedFrom[i + 1] ?? 0); at++) {
      const name = used[at] ?? 0;
      const share = shares[name] ?? 0;
      for (const target of definers[name] ?? []) {
        if (target === i) continue;
        if (sums[target] === 0) targets.push(target);
        sums[target] = (sums[target] ?? 0) + share;
        total += share;
      }
    }
    for (let link = from; link < targets.length; link++) {
      const target = targets[link] ?? 0;
      weights.push((sums[target] ?? 0) / total);
      users[target] = (users[target] ?? 0) + 1;
      sums[target] = 0;
    }
    starts[i + 1] = targets.length;
  }
  return { starts, targets: Int32Array.from(targets), weights: Float64Array.from(weights), users };
}

/** The names that some file defines, counted from 0: the files that define each, and those that file i uses, used[usedFrom[i]..usedFrom[i + 1]). */
function namesOf(files: readonly RankFile[]): { definers: number[][]; used: number[]; usedFrom: Int32Array } {
  const numbers = new Map<number, number>();
  const definers: number[][] = [];
  files.forEach(({ definitions }, i) => {
    for (const definition of definitions) {
      const name = numbers.get(definition);
      if (name !== undefined) definers[name]?.push(i);
      else numbers.set(definition, definers.push([i]) - 1);
    }
  });
  const used: number[] = [];
  const usedFrom = new Int32Array(files.length + 1);
  files.forEach(({ references }, i) => {
    for (const reference of references) {
      const name = numbers.get(reference);
      if (name !== undefined && (definers[name]?.length ?? 0) <= MOST_DEFINERS) used.push(name);
    }
    usedFrom[i + 1] = used.length;
  });
  return { definers, used, usedFrom };
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

interface Restart {
  weight: number;
  raised: string[];
  lowered: string | undefined;
}

function restartOf(file: RankFile, { open, pinned, mentions }: RankWishes, changes: Changes): Restart {
  const raised: string[] = [];
  let weight = 1;
  const boost = (factor: number, why: string): void => {
    weight *= factor;
    raised.push(why);
  };
  const named = namesPath(mentions, file.path);
  if (named) boost(BOOSTS.named, "the question names it");
  if (open.has(file.path)) boost(BOOSTS.open, "open in the editor");
  if (pinned.has(file.path)) boost(BOOSTS.pinned, "chosen by you");
  const defined = mentions.identifiers.filter((name) => file.definitions.includes(nameId(name)));
  const used = mentions.identifiers.filter((name) => file.references.includes(nameId(name)));
  if (defined.length > 0) boost(BOOSTS.defines, `defines ${someOf(defined)}`);
  if (used.length > 0) boost(BOOSTS.uses, `uses ${someOf(used)}`);
  const { factor, reason } = changes.of(file);
  weight *= factor;
  if (reason !== undefined) raised.push(reason);
  const secondary = named ? undefined : SECONDARY.find(({ pattern }) => pattern.test(file.path));
  if (!secondary) return { weight, raised, lowered: undefined };
  return { weight: weight * secondary.factor, raised, lowered: `less as it is ${secondary.what}` };
}

/** How close each file's change is to the newest one. In a fresh clone all are, and it says nothing. */
class Changes {
  private readonly newestMs: number;
  private readonly telling: boolean;

  constructor(files: readonly RankFile[]) {
    this.newestMs = files.reduce((newest, { mtimeMs }) => Math.max(newest, mtimeMs), 0);
    const recent = files.filter((file) => this.isRecent(file)).length;
    this.telling = recent <= Math.max(1, files.length / 5);
  }

  of(file: RankFile): { factor: number; reason?: string } {
    if (file.mtimeMs <= 0) return { factor: 1 };
    const factor = 1 + Math.exp((file.mtimeMs - this.newestMs) / WEEK_MS);
    return this.telling && this.isRecent(file) ? { factor, reason: "edited recently" } : { factor };
  }

  private isRecent({ mtimeMs }: RankFile): boolean {
    return mtimeMs > 0 && this.newestMs - mtimeMs < DAY_MS;
  }
}

function reasonsOf(restart: Restart | undefined, users: number): string[] {
  const { raised = [], lowered } = restart ?? {};
  const linked = users > 0 ? [`${users.toLocaleString("en-US")} ${users === 1 ? "file uses" : "files use"} it`] : [];
  return [...raised, ...linked, ...(lowered === undefined ? [] : [lowered])];
}

function someOf(names: readonly string[]): string {
  const more = names.length - 2;
  return more > 0 ? `${names.slice(0, 2).join(", ")} and ${more} more` : names.join(" and ");
}

/** Factors on the restart weight. */
const BOOSTS = { named: 30, open: 20, pinned: 10, defines: 15, uses: 4 } as const;

/** Files that are seldom what is asked about; the first pattern that matches counts. */
const SECONDARY: readonly { pattern: RegExp; factor: number; what: string }[] = [
  {
    pattern:
      /(^|\/)(generated|__generated__|gen|vendor|third_party|dist|snapshots|__snapshots__)\/|[._](gen|generated|pb)\.|\.(snap|map)$/i,
    factor: 0.1,
    what: "generated or not your own",
  },
  {
    pattern: /(^|\/)(package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|go\.sum|[\w.-]+\.lock)$/i,
    factor: 0.1,
    what: "a lock file",
  },
  {
    pattern:
      /(^|\/)(tests?|__tests__|specs?|fixtures|testdata|__mocks__|e2e)\/|[._-](test|spec|unit|e2e)\.\w+$|(^|\/)test_[^/]+\.py$/i,
    factor: 1 / 3,
    what: "a test",
  },
  {
    pattern: /(^|\/)(docs?|examples?)\/|\.(md|mdx|rst|adoc|txt)$|(^|\/)(licen[cs]e|changelog|changes|authors)\b/i,
    factor: 1 / 2,
    what: "documentation",
  },
];

const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;
const DAMPING = 0.85;
const ROUNDS = 20;
/** A name that more files define than this ("main", "index") says nothing about which one is meant. */
const MOST_DEFINERS = 16;
