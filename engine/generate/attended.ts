/** Where the answer's attention fell, as runs of lines: where the model looked, never evidence. */
import type { PackedFile } from "../api.ts";
import type { Attended } from "./api.ts";
import { attentionMass, type Pool, type TokenRange } from "./attentionMass.ts";
import type { CiteOptions } from "./cite.ts";

const MAX_RUNS = 3;
const MAX_RUN_LINES = 8;
/** Lines are first pooled in blocks of so many: a large pack has more lines than anybody waits for. */
const BLOCK_LINES = 64;
const BEST_BLOCKS = 8;
/** A line with less than this part of the heaviest one's attention begins no run and joins none. */
const LEAST_PART = 1 / 8;

interface Line {
  file: PackedFile;
  /** From 1. */
  number: number;
  mass: number;
}

interface Run {
  file: PackedFile;
  first: number;
  last: number;
  mass: number;
}

/**
 * At most three runs of at most eight neighbouring lines that drew most of the answer's attention, by share of all attention on lines of files.
 * Empty where attention is not measured. Lines are looked at one by one in the eight blocks of 64 that drew most.
 */
export async function attendedRuns(options: CiteOptions): Promise<Attended[]> {
  const { pool, queries, pack } = options;
  if (!pool) return [];
  const blocks = pack.files.flatMap((file) => blocksOf(file));
  const masses = await attentionMass(pool, queries, blocks.map(rangeOf));
  const total = masses.reduce((sum, mass) => sum + mass, 0);
  if (!(total > 0)) return [];
  const best = blocks
    .map((block, i) => ({ block, mass: masses[i] ?? 0 }))
    .sort((a, b) => b.mass - a.mass)
    .slice(0, BEST_BLOCKS);
  const lines = await massOfLines(
    best.map(({ block }) => block),
    pool,
    queries,
  );
  return runsOf(lines).map(({ file, first, last, mass }) => ({
    path: file.path,
    startLine: first,
    endLine: last,
    share: mass / total,
    quote: pack
      .lines(file.path)
      .slice(first - 1, last)
      .join("\n"),
  }));
}

/** Lines first..last of a file, from 1. */
interface Block {
  file: PackedFile;
  first: number;
  last: number;
}

function blocksOf(file: PackedFile): Block[] {
  const count = file.lineTokens.length;
  return Array.from({ length: Math.ceil(count / BLOCK_LINES) }, (_, i) => ({
    file,
    first: i * BLOCK_LINES + 1,
    last: Math.min(count, (i + 1) * BLOCK_LINES),
  }));
}

/** Tokens that begin in the lines; none for lines that were left out. */
function rangeOf({ file, first, last }: Block): TokenRange {
  return { start: file.lineTokens[first - 1] ?? file.tokenEnd, end: file.lineTokens[last] ?? file.tokenEnd };
}

async function massOfLines(blocks: readonly Block[], pool: Pool, queries: TokenRange): Promise<Line[]> {
  const lines = blocks.flatMap(({ file, first, last }) =>
    Array.from({ length: last - first + 1 }, (_, i) => ({ file, number: first + i })),
  );
  const ranges = lines.map(({ file, number }) => rangeOf({ file, first: number, last: number }));
  const masses = await attentionMass(pool, queries, ranges);
  return lines.map((line, i) => ({ ...line, mass: masses[i] ?? 0 }));
}

/** The heaviest line begins a run; each next one joins a run beside it, or begins another. */
function runsOf(lines: readonly Line[]): Run[] {
  const ordered = lines.toSorted((a, b) => b.mass - a.mass);
  const least = (ordered[0]?.mass ?? 0) * LEAST_PART;
  let runs: Run[] = [];
  for (const { file, number, mass } of ordered) {
    if (!(mass > 0) || mass < least) break;
    const beside = runs.filter(
      (run) =>
        run.file === file && (run.first === number + 1 || run.last === number - 1) && run.last - run.first + 1 < MAX_RUN_LINES,
    );
    const alone: Run = { file, first: number, last: number, mass };
    if (beside.length === 0 && runs.length < MAX_RUNS) runs.push(alone);
    if (beside.length === 0) continue;
    const joined = beside.reduce(join, alone);
    const chosen = joined.last - joined.first + 1 <= MAX_RUN_LINES ? beside : beside.slice(0, 1);
    runs = [...runs.filter((run) => !chosen.includes(run)), chosen.reduce(join, alone)];
  }
  return runs.sort((a, b) => b.mass - a.mass);
}

function join(a: Run, b: Run): Run {
  return { file: a.file, first: Math.min(a.first, b.first), last: Math.max(a.last, b.last), mass: a.mass + b.mass };
}
