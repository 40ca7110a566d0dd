import { packedUtf8 } from "../../engine/pack/body.ts";
import type { NamesOfText } from "../../engine/pack/names.ts";
import { headerLine } from "../../engine/pack/pack.ts";
import type { Stop, Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import { throwIfStopped } from "./countStopped.ts";
import { FileReader, type FileWindow } from "./fileReader.ts";
import type { ExclusionKind, FileMark, SymbolTokens } from "./requests.ts";
import { decodeTextFile } from "./textFile.ts";
import type { OutlineAnswer, ScanAnswer, TextJobs, TextRequest } from "./textJobs.ts";

/** A file to read and count. */
export interface CountRequest {
  absolute: string;
  /** Path in the workspace: what a pack writes above the text. */
  path: string;
  /** What was counted when the file had this hash; a file that has it still is not counted again. */
  known?: KnownText;
}

/** What a text with this hash counts. */
export interface KnownText {
  hash: string;
  tokens: number;
  bodyTokens: number;
}

/** What is known of a text file once it was read. */
export interface CountedText {
  /** sha256 of the bytes on disk, hexadecimal. */
  hash: string;
  /** As the file was when it was read. */
  sizeBytes: number;
  mtimeMs: number;
  /** When it was read, in milliseconds since 1970. */
  readAtMs: number;
  /** Tokens of the text as it is. */
  tokens: number;
  /** Tokens of its body in a pack, where every line ends in one line feed. */
  bodyTokens: number;
  /** Tokens of the line that names it in a pack. */
  nameTokens: number;
  marks: FileMark[];
}

/** Why a file is not counted. `sizeBytes` and `mtimeMs` are missing where it could not be read. */
export interface Uncounted {
  reason: string;
  kind: ExclusionKind;
  sizeBytes?: number;
  mtimeMs?: number;
  readAtMs: number;
}

export type CountAnswer = CountedText | Uncounted;

/** Parameters and results of the work that counting threads do, by name. */
export interface CountJobs {
  count: { params: { files: CountRequest[]; maxFileBytes: number }; result: CountAnswer[] };
  /** Bytes and tokens of each window, one after the other; both 0 where it could not be read or is no text. */
  sample: { params: { windows: FileWindow[] }; result: Int32Array<ArrayBuffer> };
  texts: { params: { texts: string[] }; result: number[] };
  outlines: { params: { files: TextRequest[] }; result: OutlineAnswer[] };
  /** What files define and use, for ranking; empty for one that could not be read. */
  names: { params: { files: TextRequest[] }; result: NamesOfText[] };
  /** Secrets and lines that cost too much; undefined for a file that could not be read. */
  scan: { params: { files: TextRequest[] }; result: (ScanAnswer | undefined)[] };
  symbols: { params: { file: TextRequest }; result: SymbolTokens[] | { reason: string } };
}

export type CountHandlers = {
  [Name in keyof CountJobs]: (
    params: CountJobs[Name]["params"],
    stop: Stop,
  ) => CountJobs[Name]["result"] | Promise<CountJobs[Name]["result"]>;
};

/** Opens the jobs that need parsers and secret rules: several times the code of those that only count. */
export type OpenTextJobs = (tokenizer: Pick<Tokenizer, "countUtf8">) => Promise<TextJobs>;

/** Does the jobs with one tokenizer; each throws `aborted` soon after `stop` says so. Text jobs are opened with the first of them. */
export function countHandlers(tokenizer: Pick<Tokenizer, "countUtf8">, openTextJobs: OpenTextJobs): CountHandlers {
  const reader = new FileReader();
  const encoder = new TextEncoder();
  let opened: Promise<TextJobs> | undefined;
  const textJobs = (): Promise<TextJobs> => (opened ??= openTextJobs(tokenizer));
  const countText = (text: string, stop: Stop): number => tokenizer.countUtf8(encoder.encode(text), stop);
  const countFile = (request: CountRequest, maxFileBytes: number, stop: Stop): CountAnswer => {
    const readAtMs = Date.now();
    const found = reader.read(request.absolute, maxFileBytes);
    if ("reason" in found) return { ...found, readAtMs };
    const { stats, bytes } = found;
    const { mtimeMs } = stats;
    const text = decodeTextFile(bytes, request.path);
    if ("reason" in text) return { reason: text.reason, kind: text.kind, sizeBytes: bytes.length, mtimeMs, readAtMs };
    const marks = text.suspect ? [...text.marks, { kind: text.suspect.kind, message: text.suspect.reason }] : text.marks;
    const { known } = request;
    const { tokens, bodyTokens } = known?.hash === text.hash ? known : countBody(tokenizer, text.utf8, stop);
    const nameTokens = countText(nameLine(request.path), stop);
    return { hash: text.hash, sizeBytes: bytes.length, mtimeMs, readAtMs, tokens, bodyTokens, nameTokens, marks };
  };
  return {
    count: ({ files, maxFileBytes }, stop) =>
      files.map((request) => {
        throwIfStopped(stop);
        return countFile(request, maxFileBytes, stop);
      }),
    sample: ({ windows }, stop) => {
      const sampled = new Int32Array(2 * windows.length);
      windows.forEach((window, i) => {
        throwIfStopped(stop);
        const words = reader.window(window);
        if (words) sampled.set([words.length, tokenizer.countUtf8(words, stop)], 2 * i);
      });
      return sampled;
    },
    texts: ({ texts }, stop) => texts.map((text) => countText(text, stop)),
    outlines: async ({ files }, stop) => (await textJobs()).outlines(files, stop),
    names: async ({ files }, stop) => (await textJobs()).names(files, stop),
    scan: async ({ files }, stop) => (await textJobs()).scan(files, stop),
    symbols: async ({ file }, stop) => (await textJobs()).symbols(file, stop),
  };
}

/** Tokens of a text as it is and as a pack writes it, which for most texts is the same. */
function countBody(
  tokenizer: Pick<Tokenizer, "countUtf8">,
  utf8: Uint8Array,
  stop: Stop,
): { tokens: number; bodyTokens: number } {
  const tokens = tokenizer.countUtf8(utf8, stop);
  const body = packedUtf8(utf8);
  return { tokens, bodyTokens: body === utf8 ? tokens : tokenizer.countUtf8(body, stop) };
}

/** What names a file in a pack: all that is left of it at the level `name`. */
export function nameLine(path: string): string {
  return `${headerLine(path)}\n`;
}
