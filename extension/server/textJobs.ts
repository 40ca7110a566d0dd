import { plainError, throwIfAborted } from "../../engine/errors.ts";
import { splitLines } from "../../engine/pack/body.ts";
import type { LineRange } from "../../engine/pack/levels.ts";
import { numberedLines } from "../../engine/pack/packToWindow.ts";
import { namesIn } from "../../engine/pack/rank.ts";
import type { Stop, Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import type { SymbolTokens } from "./requests.ts";
import { hostileLineOf, type HostileLine } from "./findings.ts";
import { scanSecrets, type SecretFinding } from "./secrets.ts";
import { readTextFile } from "./textFile.ts";

/** A text to look into: as it stands in an editor, or else the file. */
export interface TextRequest {
  path: string;
  absolute: string;
  text?: string;
}

/** What an outliner says of a text; see `Outliner` in outline/outline.ts. */
export interface OutlineSource {
  supports(path: string): boolean;
  outline(path: string, text: string): Promise<Outlined | { reason: string }>;
}

export interface Outlined {
  /** Lines kept as they are, 1-based and inclusive. */
  lines: LineRange[];
  symbols: OutlinedSymbol[];
  definitions: string[];
  references: string[];
}

export interface OutlinedSymbol {
  name: string;
  kind: string;
  startLine: number;
  endLine: number;
  children: OutlinedSymbol[];
}

/** The outline of a file: its lines, and their tokens as a pack writes them; or why it has none. */
export type OutlineAnswer = { lines: LineRange[]; tokens: number } | { reason: string };

export interface NamesAnswer {
  definitions: string[];
  references: string[];
}

export interface OddityAnswer {
  secrets: SecretFinding[];
  hostileLine?: HostileLine;
}

/** Names of one file beyond these say nothing more about what it has to do with others. */
const mostNames = 600;

/** Jobs that need a text as text: outlines, symbols, names, secrets. They give way to others between files. */
export class TextJobs {
  private readonly tokenizer: Pick<Tokenizer, "countUtf8">;
  private readonly openOutlines: () => Promise<OutlineSource>;
  private opened: Promise<OutlineSource> | undefined;
  private readonly encoder = new TextEncoder();

  constructor(tokenizer: Pick<Tokenizer, "countUtf8">, openOutlines: () => Promise<OutlineSource>) {
    this.tokenizer = tokenizer;
    this.openOutlines = openOutlines;
  }

  outlines(files: readonly TextRequest[], stop: Stop): Promise<OutlineAnswer[]> {
    return this.each(files, stop, async (text, { path }) => {
      const outlined = await this.outline(path, text);
      if ("reason" in outlined) return outlined;
      const written = numberedLines(text, outlined.lines).map(({ number, text: line }) => `${number}: ${line}\n`);
      return { lines: outlined.lines, tokens: this.count(written.join(""), stop) };
    });
  }

  names(files: readonly TextRequest[], stop: Stop): Promise<NamesAnswer[]> {
    return this.each<NamesAnswer>(
      files,
      stop,
      (text) => {
        const { definitions, references } = namesIn(text);
        return Promise.resolve({ definitions: definitions.slice(0, mostNames), references: references.slice(0, mostNames) });
      },
      () => ({ definitions: [], references: [] }),
    );
  }

  /** Tokens of each symbol's lines, outer symbols before what they hold. */
  async symbols(file: TextRequest, stop: Stop): Promise<SymbolTokens[] | { reason: string }> {
    const text = await textOf(file);
    if (typeof text !== "string") return text;
    const outlined = await this.outline(file.path, text);
    if ("reason" in outlined) return outlined;
    const lines = splitLines(text);
    const flat = (symbols: readonly OutlinedSymbol[]): SymbolTokens[] =>
      symbols.flatMap(({ name, kind, startLine, endLine, children }) => {
        const own = `${lines.slice(startLine - 1, endLine).join("\n")}\n`;
        return [{ name, kind, startLine, endLine, tokens: this.count(own, stop) }, ...flat(children)];
      });
    return flat(outlined.symbols);
  }

  oddities(files: readonly TextRequest[], stop: Stop): Promise<OddityAnswer[]> {
    return this.each<OddityAnswer>(
      files,
      stop,
      async (text, { path }) => {
        const secrets = await scanSecrets(path, text);
        const hostileLine = hostileLineOf(text, (line) => this.count(line, stop));
        return { secrets, ...(hostileLine ? { hostileLine } : {}) };
      },
      () => ({ secrets: [] }),
    );
  }

  private async outline(path: string, text: string): Promise<Outlined | { reason: string }> {
    this.opened ??= this.openOutlines();
    const source = await this.opened;
    if (!source.supports(path)) return { reason: "there is no outline for this kind of file" };
    try {
      return await source.outline(path, text);
    } catch (error) {
      return { reason: `its outline failed (${plainError(error).message})` };
    }
  }

  private count(text: string, stop: Stop): number {
    return this.tokenizer.countUtf8(this.encoder.encode(text), stop);
  }

  private async each<Answer>(
    files: readonly TextRequest[],
    stop: Stop,
    work: (text: string, file: TextRequest) => Promise<Answer>,
    unread: (reason: { reason: string }) => Answer | { reason: string } = (reason) => reason,
  ): Promise<Answer[]> {
    const answers: Answer[] = [];
    for (const file of files) {
      if (stop()) throwIfAborted(AbortSignal.abort());
      const text = await textOf(file);
      answers.push(typeof text === "string" ? await work(text, file) : (unread(text) as Answer));
    }
    return answers;
  }
}

async function textOf({ absolute, path, text }: TextRequest): Promise<string | { reason: string }> {
  if (text !== undefined) return text;
  const file = await readTextFile(absolute, { path });
  return "utf8" in file ? new TextDecoder("utf-8").decode(file.utf8) : { reason: file.reason };
}
