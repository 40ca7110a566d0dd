import { extname } from "node:path";
import type { CountPool } from "./countPool.ts";
import type { FileWindow } from "./fileReader.ts";
import type { FoundFile } from "./walk.ts";

/**
 * Bytes per token by the end of a name, for the moment before any file was read: rounded medians over packages of the registry with o200k;
 * other vocabularies are within a fifth of them. What is counted or sampled replaces them at once.
 */
const usualBytesPerToken: Readonly<Record<string, number>> = {
  ".c": 3.4,
  ".cpp": 3.6,
  ".cs": 4.4,
  ".css": 3.2,
  ".csv": 2.2,
  ".go": 3.4,
  ".h": 3.6,
  ".html": 3.3,
  ".java": 4.5,
  ".js": 3.6,
  ".json": 2.9,
  ".lock": 2.1,
  ".md": 4.1,
  ".mjs": 3.6,
  ".py": 4.2,
  ".rb": 3.9,
  ".rs": 4.1,
  ".svg": 1.9,
  ".ts": 3.9,
  ".txt": 4.2,
  ".yaml": 3.3,
  ".yml": 3.3,
};
const otherBytesPerToken = 3.6;
/** Looks that the table's ratio weighs as much as. */
const tableLooks = 4;

/** Bytes of files below which counting them all takes no longer than guessing first. */
const guessedFromBytes = 1024 * 1024;
/** Places looked at each time, and bytes at each. With 1,024, two of three sums were within half a percent (32 offsets in the bench's corpus). */
const windows = 1280;
const windowBytes = 512;

type Sampled = Pick<FoundFile, "path" | "absolute" | "sizeBytes">;

/**
 * A first impression of files that nobody has read: evenly spread places of all of them together, as they lie one behind the other, so that
 * every byte has the same chance, and neighbours, which are alike, share few of them. The first files can be looked at while a walk still
 * finds others.
 */
export class FileSample {
  readonly estimator = new TokenEstimator();
  private readonly pool: CountPool;
  private readonly signal: AbortSignal;
  /** Files so far. */
  private looked = 0;
  private looking: Promise<void> = Promise.resolve();

  constructor(pool: CountPool, signal: AbortSignal) {
    this.pool = pool;
    this.signal = signal;
  }

  /** Looks at those files that the looks before it had not; too few to be worth it are left to the next one. Throws `aborted`. */
  look(files: readonly Sampled[]): Promise<void> {
    this.looking = this.looking.then(() => this.lookOn(files));
    return this.looking;
  }

  private async lookOn(files: readonly Sampled[]): Promise<void> {
    const from = this.looked;
    const bytes = files.slice(from).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (bytes < guessedFromBytes) return;
    this.looked = files.length;
    const step = bytes / windows;
    const chosen = spreadWindows(files.slice(from), step);
    // One thread does it all: most of its time goes into the first pieces, while V8 compiles, and a second one would have the same to do.
    const sampled = await this.pool.call("sample", { windows: chosen.map(({ window }) => window) }, { signal: this.signal });
    chosen.forEach(({ path }, i) => this.estimator.learn(path, sampled[2 * i] ?? 0, sampled[2 * i + 1] ?? 0, step));
  }
}

function spreadWindows(files: readonly Sampled[], step: number): { path: string; window: FileWindow }[] {
  const chosen: { path: string; window: FileWindow }[] = [];
  let start = 0;
  let next = step / 2;
  for (const { path, absolute, sizeBytes } of files) {
    for (; next < start + sizeBytes; next += step) {
      // Around the place, and inside the file: its first and its last bytes are looked at as often as others.
      const place = Math.max(0, Math.min(Math.floor(next - start - windowBytes / 2), sizeBytes - windowBytes));
      chosen.push({ path, window: { absolute, place, bytes: windowBytes } });
    }
    start += sizeBytes;
  }
  return chosen;
}

/** Expects tokens of files that nobody has read yet from pieces of others. */
export class TokenEstimator {
  /** Of each kind of file; bytes and tokens each times what they stand for. */
  private readonly seen = new Map<string, { looks: number; bytes: number; tokens: number }>();

  /** Takes in a piece of a file that was looked at, which stands for so many bytes; of 0 bytes is one that is no text. */
  learn(path: string, bytes: number, tokens: number, standsFor: number): void {
    const kind = kindOf(path);
    let sum = this.seen.get(kind);
    if (!sum) this.seen.set(kind, (sum = { looks: 0, bytes: 0, tokens: 0 }));
    sum.looks++;
    sum.bytes += standsFor * bytes;
    sum.tokens += standsFor * tokens;
  }

  expect(path: string, sizeBytes: number): number {
    const kind = kindOf(path);
    const usual = 1 / (usualBytesPerToken[kind] ?? otherBytesPerToken);
    const sum = this.seen.get(kind);
    if (!sum) return Math.round(sizeBytes * usual);
    // A kind in which no look found any text is pictures or programs.
    if (sum.bytes === 0) return 0;
    return Math.round((sizeBytes * (sum.looks * (sum.tokens / sum.bytes) + tableLooks * usual)) / (sum.looks + tableLooks));
  }
}

function kindOf(path: string): string {
  return extname(path).toLowerCase();
}
