import { plainError } from "../../engine/errors.ts";
import { runBatches } from "./batches.ts";
import { type CountAnswer, type CountRequest, countStopped, exactBelowBytes, type KnownText } from "./countJobs.ts";
import type { CountPool } from "./countPool.ts";
import { TokenEstimator } from "./estimate.ts";
import type { FoundFile } from "./walk.ts";

/** A file to count, and what it had when it was counted last. */
export interface FileToCount {
  found: FoundFile;
  known?: KnownText;
}

export interface CountFilesOptions {
  pool: CountPool;
  maxFileBytes: number;
  signal?: AbortSignal;
  /** Before everything else that waits for the pool. */
  urgent?: boolean;
  /** A better guess; several may come before the count. Without it nothing is guessed. */
  onExpected?: (found: FoundFile, tokens: number) => void;
  onCounted: (found: FoundFile, answer: CountAnswer) => void;
}

/** Below this everything is counted faster than it is guessed. */
const guessedFromBytes = 1024 * 1024;
const batchBytes = 192 * 1024;
const batchFiles = 48;
/** Parts of the files after which what was learned so far is told of the rest. */
const milestones = [0.05, 0.25, 0.6];

/**
 * Counts files. Many are first expected: at once by the ends of their names, then small ones are counted and a few windows of
 * the large ones, in an order that mixes the workspace, so that early sums are fair; at last the large ones are counted. Throws `aborted`.
 */
export async function countFiles(files: readonly FileToCount[], options: CountFilesOptions): Promise<void> {
  const bytes = files.reduce((sum, { found }) => sum + found.sizeBytes, 0);
  const { onExpected } = options;
  if (!onExpected || bytes < guessedFromBytes) {
    await countExactly(files, options);
    return;
  }
  const estimator = new TokenEstimator();
  const expectAll = (rest: readonly FileToCount[]): void => {
    for (const { found } of rest) onExpected(found, estimator.expect(found.path, found.sizeBytes));
  };
  expectAll(files);
  const mixed = shuffled(files);
  const large = mixed.filter(({ found }) => found.sizeBytes > exactBelowBytes);
  await survey(mixed, estimator, expectAll, options);
  await countExactly(large, options);
}

/** Counts the small files and samples the large ones. */
async function survey(
  mixed: readonly FileToCount[],
  estimator: TokenEstimator,
  expectAll: (rest: readonly FileToCount[]) => void,
  options: CountFilesOptions,
): Promise<void> {
  const known = new Set<FileToCount>();
  let milestone = 0;
  const learn = (file: FileToCount, tokens: number): void => {
    known.add(file);
    estimator.learn(file.found.path, file.found.sizeBytes, tokens);
  };
  await inBatches(
    mixed,
    ({ found }) => Math.min(found.sizeBytes, exactBelowBytes),
    options,
    async (batch) => {
      const small = batch.filter(({ found }) => found.sizeBytes <= exactBelowBytes);
      const large = batch.filter(({ found }) => found.sizeBytes > exactBelowBytes);
      await Promise.all([
        countBatch(small, options, (file, answer) => {
          if ("hash" in answer) learn(file, answer.tokens);
          else known.add(file);
        }),
        sampleBatch(large, options, learn),
      ]);
      while (known.size >= (milestones[milestone] ?? Infinity) * mixed.length) {
        milestone++;
        expectAll(mixed.filter((file) => !known.has(file)));
      }
    },
  );
}

async function sampleBatch(
  files: readonly FileToCount[],
  { pool, signal, onExpected }: CountFilesOptions,
  learn: (file: FileToCount, tokens: number) => void,
): Promise<void> {
  if (files.length === 0) return;
  const tokens = await pool.call("sample", { absolutes: files.map(({ found }) => found.absolute) }, { signal });
  files.forEach((file, index) => {
    const sampled = tokens[index] ?? -1;
    // One that cannot be read keeps its guess until it is counted, which says why.
    if (sampled < 0) return;
    learn(file, sampled);
    onExpected?.(file.found, sampled);
  });
}

async function countExactly(files: readonly FileToCount[], options: CountFilesOptions): Promise<void> {
  await inBatches(
    files,
    ({ found }) => found.sizeBytes,
    options,
    (batch) => countBatch(batch, options, () => undefined),
  );
}

/** A batch that fails as a whole is tried file by file, so that one bad file costs only itself. */
async function countBatch(
  files: readonly FileToCount[],
  options: CountFilesOptions,
  onAnswer: (file: FileToCount, answer: CountAnswer) => void,
): Promise<void> {
  if (files.length === 0) return;
  const { pool, maxFileBytes, signal, urgent, onCounted } = options;
  const requests = files.map(({ found, known }): CountRequest => {
    const request = { absolute: found.absolute, path: found.path };
    return known ? { ...request, known } : request;
  });
  const take = (file: FileToCount, answer: CountAnswer): void => {
    onAnswer(file, answer);
    onCounted(file.found, answer);
  };
  try {
    const answers = await pool.call("count", { files: requests, maxFileBytes }, { signal, urgent });
    files.forEach((file, index) => {
      const answer = answers[index];
      if (answer) take(file, answer);
    });
  } catch (error) {
    const [only, ...others] = files;
    const { code, message } = plainError(error);
    // Not about one file: the run was stopped, or nothing can be counted with this tokenizer.
    if (code !== "internal" || !only) throw error;
    if (others.length > 0) for (const file of files) await countBatch([file], options, onAnswer);
    else take(only, { reason: `cannot be counted (${message})`, kind: "unreadable", readAtMs: Date.now() });
  }
}

/** Works on as many at a time as the pool takes; the first error ends it. */
function inBatches(
  files: readonly FileToCount[],
  weightOf: (file: FileToCount) => number,
  { pool, signal }: CountFilesOptions,
  work: (batch: readonly FileToCount[]) => Promise<void>,
): Promise<void> {
  const check = (): void => {
    if (signal?.aborted) throw countStopped();
  };
  return runBatches(files, { weightOf, mostWeight: batchBytes, mostItems: batchFiles, lanes: pool.width, check }, work);
}

/** Another order of the same files, the same each time. */
function shuffled<Item>(items: readonly Item[]): Item[] {
  const order = [...items];
  let seed = 0x2545f491;
  for (let i = order.length - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((seed / 2 ** 32) * (i + 1));
    const [a, b] = [order[i], order[j]];
    if (a === undefined || b === undefined) continue;
    order[i] = b;
    order[j] = a;
  }
  return order;
}
