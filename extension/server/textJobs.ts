import { plainError } from "../../engine/errors.ts";
import { keptLines, splitLines } from "../../engine/pack/body.ts";
import type { LineRange } from "../../engine/pack/levels.ts";
import { nameIds, namesIn, type NamesOfText } from "../../engine/pack/names.ts";
import type { Stop, Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import { textHash } from "./contentHash.ts";
import { throwIfStopped } from "./countStopped.ts";
import { FileReader } from "./fileReader.ts";
import { type HostileLine, hostileLineOf } from "./findings.ts";
import type { Outlined, OutlinedSymbol, OutlineSource } from "./outline/outline.ts";
import type { SymbolTokens } from "./requests.ts";
import { scanSecrets, type SecretFinding } from "./secrets.ts";
import { decodeTextFile } from "./textFile.ts";

/** A text to look into: as it stands in an editor, or else the file. */
export interface TextRequest {
  path: string;
  absolute: string;
  text?: string;
}

/** What an outline keeps of a file, or why there is none. `hash` is of the text that was looked at. */
export type OutlineAnswer =
  { hash: string; lines: LineRange[]; tokens: number; definitions: Int32Array<ArrayBuffer> } | { hash: string; reason: string };

/** What speaks against giving a text away, or against paying for it. `hash` is of the text that was looked at. */
export interface ScanAnswer {
  hash: string;
  secrets: SecretFinding[];
  hostileLine?: HostileLine;
}

/** Jobs that need a text as text: outlines, symbols, names, secrets. */
export class TextJobs {
  private readonly tokenizer: Pick<Tokenizer, "countUtf8">;
  private readonly openOutlines: () => Promise<OutlineSource>;
  private opened: Promise<OutlineSource> | undefined;
  private readonly reader = new FileReader();
  private readonly encoder = new TextEncoder();
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(tokenizer: Pick<Tokenizer, "countUtf8">, openOutlines: () => Promise<OutlineSource>) {
    this.tokenizer = tokenizer;
    this.openOutlines = openOutlines;
  }

  outlines(files: readonly TextRequest[], stop: Stop): Promise<OutlineAnswer[]> {
    return this.each(files, stop, async (file) => {
      const read = this.read(file);
      if ("reason" in read) return { hash: "", reason: read.reason };
      const { hash, text } = read;
      const outlined = await this.outline(file.path, text, stop);
      if ("reason" in outlined) return { hash, reason: outlined.reason };
      const { lines, definitions } = outlined;
      const kept = keptLines(splitLines(text), lines).flatMap((line) => (line === undefined ? [] : [`${line}\n`]));
      return { hash, lines, tokens: this.count(kept.join(""), stop), definitions: nameIds(definitions) };
    });
  }

  names(files: readonly TextRequest[], stop: Stop): Promise<NamesOfText[]> {
    return this.each(files, stop, (file) => {
      const read = this.read(file);
      return namesIn("text" in read ? read.text : "");
    });
  }

  scan(files: readonly TextRequest[], stop: Stop): Promise<(ScanAnswer | undefined)[]> {
    return this.each(files, stop, async (file) => {
      const read = this.read(file);
      if ("reason" in read) return undefined;
      const { hash, text } = read;
      const secrets = await scanSecrets(file.path, text);
      const hostileLine = hostileLineOf(text, (line) => this.count(line, stop));
      return { hash, secrets, ...(hostileLine ? { hostileLine } : {}) };
    });
  }

  /** Tokens of each symbol's lines, outer symbols before what they hold. */
  async symbols(file: TextRequest, stop: Stop): Promise<SymbolTokens[] | { reason: string }> {
    const read = this.read(file);
    if ("reason" in read) return read;
    const outlined = await this.outline(file.path, read.text, stop);
    if ("reason" in outlined) return outlined;
    const lines = splitLines(read.text);
    const flat = (symbols: readonly OutlinedSymbol[], depth: number): SymbolTokens[] =>
      symbols.flatMap(({ children, ...symbol }) => {
        const own = lines.slice(symbol.startLine - 1, symbol.endLine).map((line) => `${line}\n`);
        return [{ ...symbol, depth, tokens: this.count(own.join(""), stop) }, ...flat(children, depth + 1)];
      });
    return flat(outlined.symbols, 0);
  }

  private async outline(path: string, text: string, stop: Stop): Promise<Outlined | { reason: string }> {
    let source: OutlineSource;
    try {
      source = await (this.opened ??= this.openOutlines());
    } catch (error) {
      // Everything else goes on without outlines; the next file tries again.
      this.opened = undefined;
      return { reason: `outlines cannot be made (${plainError(error).message})` };
    }
    if (!source.supports(path)) return { reason: "there is no outline for this kind of file" };
    try {
      return source.outline(path, text, stop);
    } catch (error) {
      throwIfStopped(stop);
      return { reason: `its outline failed (${plainError(error).message})` };
    }
  }

  private read({ absolute, path, text }: TextRequest): { hash: string; text: string } | { reason: string } {
    if (text !== undefined) return { hash: textHash(text), text };
    const read = this.reader.read(absolute, Infinity);
    if ("reason" in read) return read;
    const decoded = decodeTextFile(read.bytes, path);
    return "reason" in decoded ? decoded : { hash: decoded.hash, text: this.decoder.decode(decoded.utf8) };
  }

  private count(text: string, stop: Stop): number {
    return this.tokenizer.countUtf8(this.encoder.encode(text), stop);
  }

  private async each<Answer>(
    files: readonly TextRequest[],
    stop: Stop,
    work: (file: TextRequest) => Answer | Promise<Answer>,
  ): Promise<Answer[]> {
    const answers: Answer[] = [];
    for (const file of files) {
      throwIfStopped(stop);
      answers.push(await work(file));
    }
    return answers;
  }
}
