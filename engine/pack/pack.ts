import type { PackedFile, SnapshotFile } from "../api.ts";
import { throwIfAborted } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { PackRow } from "./api.ts";
import { excerptOf } from "./excerpt.ts";
import { type BodyCache, emptyBody, encodeBody, type FileBody, type FileLines, readLines } from "./body.ts";
import { type Asked, linesAsked, nearnessOf, readAsked } from "./nearness.ts";

export interface PackOptions {
  files: readonly SnapshotFile[];
  /** Bytes of one file; asked at most once per hash. */
  readFile(file: SnapshotFile, signal?: AbortSignal): Promise<Uint8Array>;
  tokenizer: Tokenizer;
  /** Tokens in front of the files, e.g. the opening of a chat template. */
  before: Int32Array;
  /** The window in tokens, or a rule that is given what everything together would need. */
  windowTokens: number | ((neededTokens: number) => number);
  /** Tokens kept free behind the files for questions and answer. */
  reserveTokens: number;
  /** Questions of this conversation; what they name is preferred when not everything fits. */
  questions: readonly string[];
  /** Paths that the user pointed at: kept before what the questions name. */
  first?: readonly string[] | undefined;
  cache: BodyCache;
  signal?: AbortSignal;
  onProgress?(doneFiles: number, totalFiles: number): void;
}

/** The prompt up to the end of the last file. */
export interface Pack {
  /** `before`, then every packed file: its header line, then its lines. */
  readonly ids: Int32Array<ArrayBuffer>;
  /** In the order of `ids`. */
  readonly files: readonly PackedFile[];
  /** One per file of the snapshot, in path order. */
  readonly rows: readonly PackRow[];
  /** Lines of a packed file by their number less 1; undefined for those that its outline leaves out. */
  lines(path: string): readonly (string | undefined)[];
}

/**
 * Files as `=== path ===` and what their level leaves of their lines, in path order. If they do not all fit, files are dropped, each with its
 * reason: kept first are those the user pointed at and those the question names, then those where a line bears out what is asked of a name (defines,
 * sets, imports, calls it), then those that contain it, then the smallest. One of the first three kinds that does not fit whole is given in part:
 * these lines with what stands around them.
 */
export async function packFiles(options: PackOptions): Promise<Pack> {
  const bodies = new Bodies(options);
  const entries = await encodeFiles(options, bodies);
  const needed = entries.reduce((sum, entry) => sum + entry.tokens, options.before.length + options.reserveTokens);
  const window = typeof options.windowTokens === "number" ? options.windowTokens : options.windowTokens(needed);
  const space = window - options.before.length - options.reserveTokens;
  const { kept, rows } = needed <= window ? keepAll(entries) : await keepBest(entries, space, options, bodies);
  return { ...layOut(kept, options.before), rows };
}

/** The header line of a file in the prompt, without its line break. */
export function headerLine(path: string): string {
  return `=== ${path} ===`;
}

interface Entry {
  file: SnapshotFile;
  header: Int32Array;
  body: FileBody;
  tokens: number;
}

async function encodeFiles(options: PackOptions, bodies: Bodies): Promise<Entry[]> {
  const { tokenizer, signal } = options;
  const files = [...options.files].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const entries: Entry[] = [];
  for (const file of files) {
    throwIfAborted(signal);
    const body = await bodies.of(file);
    const header = tokenizer.encode(headerLine(file.path) + "\n");
    entries.push({ file, header, body, tokens: header.length + body.ids.length });
    options.onProgress?.(entries.length, files.length);
  }
  return entries;
}

/** Bodies of one pack: equal bytes are read once, and tokenised once for each choice of their lines. */
class Bodies {
  private readonly encoded = new Map<string, FileBody>();
  private readonly read = new Map<string, FileLines>();

  constructor(private readonly options: PackOptions) {}

  async of(file: SnapshotFile): Promise<FileBody> {
    if (file.level === "name") return emptyBody();
    const { tokenizer, cache } = this.options;
    const ranges = file.level === "outline" ? file.lines : undefined;
    const key = ranges ? `${file.hash}:${ranges.map(({ first, last }) => `${first}-${last}`).join(",")}` : file.hash;
    const known = this.encoded.get(key);
    if (known) return known;
    const body = cache.get(key) ?? encodeBody(await this.linesOf(file), tokenizer, ranges);
    cache.set(key, body);
    this.encoded.set(key, body);
    return body;
  }

  private async linesOf(file: SnapshotFile): Promise<FileLines> {
    const known = this.read.get(file.hash);
    if (known) return known;
    const lines = readLines(await this.options.readFile(file, this.options.signal));
    this.read.set(file.hash, lines);
    return lines;
  }
}

interface Choice {
  kept: readonly Entry[];
  rows: PackRow[];
}

function keepAll(entries: readonly Entry[]): Choice {
  return { kept: entries, rows: entries.map((entry) => row(entry, true, "everything fits")) };
}

/** Takes files by rank while they fit, or parts of them; those the question names by path go last, nearest to it. */
async function keepBest(
  entries: readonly Entry[],
  space: number,
  { questions, first, signal }: PackOptions,
  bodies: Bodies,
): Promise<Choice> {
  const asked = readAsked(questions);
  const pointedAt = new Set(first);
  const ranked = entries.map((entry) => ({
    entry,
    ...(pointedAt.has(entry.file.path) ? POINTED_AT : nearnessOf(asked, entry.file.path, entry.body.lines)),
  }));
  const order = [...ranked].sort((a, b) => a.rank - b.rank || a.entry.tokens - b.entry.tokens);
  const given = new Map<Entry, Entry>();
  const rows = new Map<Entry, PackRow>();
  const asNear = new Map<number, number>();
  for (const { rank } of ranked) asNear.set(rank, (asNear.get(rank) ?? 0) + 1);
  let left = space;
  for (const { entry, rank, because } of order) {
    throwIfAborted(signal);
    // Those that are as near and larger shall have something of what is left, too.
    const larger = asNear.get(rank) ?? 1;
    asNear.set(rank, larger - 1);
    const fits = entry.tokens <= left;
    const part =
      fits || because === "" ? undefined : await partOf(entry, asked, [left / larger, Math.min(left, FEW_TOKENS)], bodies);
    const taken = fits ? entry : part;
    if (taken) given.set(entry, taken);
    const needs = `needs ${count(entry.tokens)} tokens, ${count(Math.max(0, left))} left`;
    if (fits) rows.set(entry, row(entry, true, because || "fits beside what the question names"));
    else if (part) rows.set(entry, partRow(entry, part, `${because}, but all of it ${needs}`));
    else rows.set(entry, row(entry, false, because === "" ? needs : `${because}, but ${needs}`));
    left -= taken?.tokens ?? 0;
  }
  const named = ranked.filter(({ rank }) => rank <= 0);
  const others = ranked.filter(({ rank }) => rank > 0);
  return {
    kept: [...others, ...named].flatMap(({ entry }) => given.get(entry) ?? []),
    rows: entries.flatMap((entry) => rows.get(entry) ?? []),
  };
}

const POINTED_AT = { rank: -1, because: "you pointed at this file" };

/** Lines of a whole file that are asked for, with those around them, in the first of some numbers of tokens that is enough. */
async function partOf(entry: Entry, asked: Asked, spaces: readonly number[], bodies: Bodies): Promise<Entry | undefined> {
  const { file, header } = entry;
  if ((file.level ?? "full") !== "full" || Math.max(...spaces) <= header.length) return undefined;
  const wanted = linesAsked(asked, entry.body.lines);
  for (const space of spaces) {
    const lines = excerptOf(entry.body, wanted, space - header.length - BORDER_TOKENS);
    if (!lines) continue;
    const part = { ...file, level: "outline" as const, lines };
    const body = await bodies.of(part);
    const tokens = header.length + body.ids.length;
    if (tokens <= space) return { file: part, header, body, tokens };
  }
  return undefined;
}

/** For a part where the share of each is too small for any line. */
const FEW_TOKENS = 512;
/** At the borders of a part stand other tokens than in the whole file, and may be some more. */
const BORDER_TOKENS = 8;

function partRow(entry: Entry, part: Entry, because: string): PackRow {
  return {
    ...row(part, true, because),
    wholeTokens: entry.tokens,
    reason: `in part, ${keptText(part)}: ${because}${repairs(part)}`,
  };
}

function row(entry: Entry, included: boolean, because: string): PackRow {
  return { path: entry.file.path, tokens: entry.tokens, included, reason: levelWords(entry) + because + repairs(entry) };
}

/** What is given of a file that is not whole. */
function levelWords(entry: Entry): string {
  const { level, lines } = entry.file;
  if (level === "name") return "name only: ";
  return level === "outline" && lines ? `outline, ${keptText(entry)}: ` : "";
}

function keptText({ body }: Entry): string {
  const kept = body.lines.reduce((sum, line) => sum + (line === undefined ? 0 : 1), 0);
  return `${count(kept)} of ${count(body.lines.length)} lines`;
}

function repairs({ body }: Entry): string {
  return body.repaired ? "; bytes that are not UTF-8 are shown as U+FFFD" : "";
}

function layOut(kept: readonly Entry[], before: Int32Array): Omit<Pack, "rows"> {
  const ids = new Int32Array(kept.reduce((sum, entry) => sum + entry.tokens, before.length));
  ids.set(before);
  let at = before.length;
  const files = kept.map(({ file, header, body, tokens }): PackedFile => {
    const tokenStart = at;
    const bodyStart = at + header.length;
    ids.set(header, tokenStart);
    ids.set(body.ids, bodyStart);
    at += tokens;
    const lineTokens = body.lineTokens.map((token) => bodyStart + token);
    return { path: file.path, hash: file.hash, tokenStart, tokenEnd: at, bodyStart, lineTokens };
  });
  const lines = new Map(kept.map(({ file, body }) => [file.path, body.lines]));
  return { ids, files, lines: (path) => lines.get(path) ?? [] };
}

function count(tokens: number): string {
  return tokens.toLocaleString("en-US");
}
