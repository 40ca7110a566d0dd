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
  /** What raised it, in words, the strongest first; empty where it is only a file among others. */
  reasons: readonly string[];
  /** What lowered it, in words: "a test". */
  lowered?: string;
}

/**
 * How much each file matters: PageRank over "uses a name that the other file defines", with restarts at what the user looks at.
 *
 * A name links its users to its definers with 1 / (definers * sqrt(users)), so that common names say little; one that more than
 * MOST_DEFINERS files define links nothing.
 * A file that defines a name means its own. The restart weight of a file is 1, raised by the factors of BOOSTS (open, named by the question, chosen, defining or using a name of the
 * question), by up to 2 for a change close to the newest one, and lowered for tests, documents and generated files unless the
 * question names them. Every factor is one of the reasons, or what lowered it. O(names) and at most ROUNDS rounds over them.
 */
export function rankFiles(files: readonly RankFile[], wishes: RankWishes): Map<string, Rank> {
  const changes = new Changes(files);
  const restarts = files.map((file) => restartOf(file, wishes, changes));
  const links = linksOf(files);
  const ranks = pageRank(
    restarts.map(({ weight }) => weight),
    links,
  );
  return new Map(files.map(({ path }, i) => [path, { rank: ranks[i] ?? 0, ...reasonsOf(restarts[i], links.users[i] ?? 0) }]));
}

/** Who uses whose names: file i uses the names used[usedFrom[i]..usedFrom[i + 1]), name n is defined by definers[definersFrom[n]..definersFrom[n + 1]). */
interface Links {
  used: Int32Array;
  usedFrom: Int32Array;
  definers: Int32Array;
  definersFrom: Int32Array;
  /** What a name gives each of its definers of what it gets, before a file's uses are made to add up to 1. */
  shares: Float64Array;
  /** Files that use a name of each file. */
  users: Int32Array;
}

function linksOf(files: readonly RankFile[]): Links {
  const names = new NameTable(files);
  const { used, usedFrom } = usesOf(files, names);
  const { definers, definersFrom } = names;
  const userCounts = new Int32Array(names.size);
  for (const name of used) userCounts[name] = (userCounts[name] ?? 0) + 1;
  const shares = Float64Array.from(userCounts, (users, name) => 1 / (names.definersOf(name) * Math.sqrt(Math.max(1, users))));
  const users = new Int32Array(files.length);
  const lastUser = new Int32Array(files.length).fill(-1);
  for (let file = 0; file < files.length; file++) {
    for (let at = usedFrom[file] ?? 0; at < (usedFrom[file + 1] ?? 0); at++) {
      const name = used[at] ?? 0;
      for (let link = definersFrom[name] ?? 0; link < (definersFrom[name + 1] ?? 0); link++) {
        const target = definers[link] ?? 0;
        if (lastUser[target] === file) continue;
        lastUser[target] = file;
        users[target] = (users[target] ?? 0) + 1;
      }
    }
  }
  return { used, usedFrom, definers, definersFrom, shares, users };
}

/** The names that each file uses and others define; one that it defines itself is its own. */
function usesOf(files: readonly RankFile[], names: NameTable): { used: Int32Array; usedFrom: Int32Array } {
  const used = new Int32Array(files.reduce((sum, { references }) => sum + references.length, 0));
  const usedFrom = new Int32Array(files.length + 1);
  let count = 0;
  files.forEach(({ references, definitions }, file) => {
    let own = 0;
    for (let at = 0; at < references.length; at++) {
      const reference = references[at] ?? 0;
      while (own < definitions.length && (definitions[own] ?? 0) < reference) own++;
      if (definitions[own] === reference) continue;
      const name = names.numberOf(reference);
      if (name >= 0) used[count++] = name;
    }
    usedFrom[file + 1] = count;
  });
  return { used: used.subarray(0, count), usedFrom };
}

/** Names that some file defines, counted from 0, in a table with open addressing: a Map would take most of the time of ranking. */
class NameTable {
  size = 0;
  readonly definers: Int32Array;
  readonly definersFrom: Int32Array;
  /** Id and number of each place side by side, so that looking one up touches memory once; the number is FREE where there is none. */
  private readonly places: Int32Array;
  private readonly shift: number;

  constructor(files: readonly RankFile[]) {
    const count = files.reduce((sum, { definitions }) => sum + definitions.length, 0);
    const bits = Math.max(4, Math.ceil(Math.log2(2 * count + 1)));
    this.shift = 32 - bits;
    this.places = new Int32Array(2 << bits).fill(FREE);
    const defined = new Int32Array(count);
    const counts = new Int32Array(count + 1);
    let at = 0;
    for (const { definitions } of files) {
      for (const id of definitions) {
        const name = this.enter(id);
        defined[at++] = name;
        counts[name + 1] = (counts[name + 1] ?? 0) + 1;
      }
    }
    for (let name = 0; name < this.size; name++) counts[name + 1] = (counts[name + 1] ?? 0) + (counts[name] ?? 0);
    this.definersFrom = counts.subarray(0, this.size + 1);
    this.definers = new Int32Array(count);
    const next = this.definersFrom.slice();
    at = 0;
    files.forEach(({ definitions }, file) => {
      for (let i = 0; i < definitions.length; i++) {
        const name = defined[at++] ?? 0;
        const place = next[name] ?? 0;
        this.definers[place] = file;
        next[name] = place + 1;
      }
    });
    for (let place = 1; place < this.places.length; place += 2) {
      const name = this.places[place] ?? FREE;
      if (name >= 0 && this.definersOf(name) > MOST_DEFINERS) this.places[place] = COMMON;
    }
  }

  /** Below 0 where no file defines it, or so many that it says nothing. */
  numberOf(id: number): number {
    return this.places[this.placeOf(id) + 1] ?? FREE;
  }

  definersOf(name: number): number {
    return (this.definersFrom[name + 1] ?? 0) - (this.definersFrom[name] ?? 0);
  }

  private enter(id: number): number {
    const place = this.placeOf(id);
    const known = this.places[place + 1] ?? FREE;
    if (known !== FREE) return known;
    this.places[place] = id;
    this.places[place + 1] = this.size;
    return this.size++;
  }

  /** Where the id is, or where it would be entered: at most half of the places are taken, so that there is one. Ids are spread already. */
  private placeOf(id: number): number {
    const mask = this.places.length - 1;
    let place = (id >>> this.shift) << 1;
    while (this.places[place + 1] !== FREE && this.places[place] !== id) place = (place + 2) & mask;
    return place;
  }
}

/** A file that uses nothing gives its rank back to where restarts go. */
function pageRank(weights: readonly number[], links: Links): Float64Array {
  const { used, usedFrom, definers, definersFrom, shares } = links;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const restart = Float64Array.from(weights, (weight) => weight / total);
  const gives = totalsOf(links, weights.length);
  const flow = new Float64Array(shares.length);
  let ranks = restart.slice();
  for (let round = 0; round < ROUNDS; round++) {
    flow.fill(0);
    let loose = 0;
    for (let file = 0; file < ranks.length; file++) {
      const given = gives[file] ?? 0;
      if (given === 0) {
        loose += ranks[file] ?? 0;
        continue;
      }
      const part = (ranks[file] ?? 0) / given;
      for (let at = usedFrom[file] ?? 0; at < (usedFrom[file + 1] ?? 0); at++) {
        const name = used[at] ?? 0;
        flow[name] = (flow[name] ?? 0) + part;
      }
    }
    const back = 1 - DAMPING + DAMPING * loose;
    const next = Float64Array.from(restart, (weight) => back * weight);
    for (let name = 0; name < flow.length; name++) {
      const part = DAMPING * (flow[name] ?? 0) * (shares[name] ?? 0);
      if (part === 0) continue;
      for (let link = definersFrom[name] ?? 0; link < (definersFrom[name + 1] ?? 0); link++) {
        const target = definers[link] ?? 0;
        next[target] = (next[target] ?? 0) + part;
      }
    }
    const change = next.reduce((sum, rank, file) => sum + Math.abs(rank - (ranks[file] ?? 0)), 0);
    ranks = next;
    if (change < SETTLED) break;
  }
  return ranks;
}

/** What the names that a file uses would give in all, by file. */
function totalsOf({ used, usedFrom, definersFrom, shares }: Links, files: number): Float64Array {
  return Float64Array.from({ length: files }, (_, file) => {
    let total = 0;
    for (let at = usedFrom[file] ?? 0; at < (usedFrom[file + 1] ?? 0); at++) {
      const name = used[at] ?? 0;
      total += (shares[name] ?? 0) * ((definersFrom[name + 1] ?? 0) - (definersFrom[name] ?? 0));
    }
    return total;
  });
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
  return { weight: weight * secondary.factor, raised, lowered: secondary.what };
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

function reasonsOf(restart: Restart | undefined, users: number): Pick<Rank, "reasons" | "lowered"> {
  const { raised = [], lowered } = restart ?? {};
  const linked = users > 0 ? [`${users.toLocaleString("en-US")} ${users === 1 ? "file uses" : "files use"} it`] : [];
  return { reasons: [...raised, ...linked], ...(lowered === undefined ? {} : { lowered }) };
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
/** Numbers in the table of names that stand for none. */
const FREE = -1;
const COMMON = -2;
const DAMPING = 0.85;
const ROUNDS = 20;
/** Sum of all changes in a round below which the next ones would change no order that matters. */
const SETTLED = 1e-3;
/** A name that more files define than this ("main", "index") says nothing about which one is meant. */
const MOST_DEFINERS = 16;
