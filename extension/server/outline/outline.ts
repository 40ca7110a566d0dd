import { performance } from "node:perf_hooks";
import { abortedError, EngineError, plainError } from "../../../engine/errors.ts";
import type { LineRange } from "../../../engine/pack/levels.ts";
import type { Stop } from "../../../engine/tokenizer/tokenizer.ts";
import { type LoadedLanguage, loadLanguage, openRuntime, parse, replaceParser, type Runtime } from "./grammars.ts";
import { languageOf } from "./languages.ts";
import type { Language, OutlinedSymbol } from "./rules.ts";
import { LONGEST_LINE, Walk } from "./walk.ts";

export type { OutlinedSymbol } from "./rules.ts";

/** What a file declares. */
export interface Outlined {
  /** Lines kept as they are: sorted, disjoint, not adjacent. */
  lines: LineRange[];
  symbols: OutlinedSymbol[];
  /** Names that other files may use, each once. */
  definitions: string[];
}

export interface OutlineSource {
  supports(path: string): boolean;
  /**
   * What a file declares, or why there is no outline of it. Lines are counted as `splitLines` counts them. `stop` is polled
   * every few milliseconds; once it says true, throws `aborted`.
   */
  outline(path: string, text: string, stop: Stop): Outlined | { reason: string };
}

/**
 * Outlines by tree-sitter. Grammars are loaded one by one, with the first file of their language; one that cannot be loaded is
 * the reason for every file of that language. Throws `not-found` where the parsers are not installed. A folder is named by
 * tests only; without one it is the one beside the bundle.
 */
export async function openOutlines(grammarFolder?: string): Promise<OutlineSource> {
  return new Outlines(await openRuntime(grammarFolder));
}

/** Every failure leaves memory behind that nothing can free. */
const MOST_FAILURES = 20;
/** A file that takes longer to read is not worth the wait. */
const MOST_MS = 2000;

class Outlines implements OutlineSource {
  private readonly runtime: Runtime;
  private readonly loaded = new Map<Language, LoadedLanguage | { reason: string }>();
  private failures = 0;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  supports(path: string): boolean {
    return languageOf(path) !== undefined;
  }

  outline(path: string, text: string, stop: Stop): Outlined | { reason: string } {
    const language = languageOf(path);
    if (!language) return { reason: "there is no outline for this kind of file" };
    const plain = withPlainLineEnds(text);
    if (isMostlyGiantLines(plain)) return { reason: `most of it stands in lines of more than ${LONGEST_LINE} characters` };
    if (this.failures >= MOST_FAILURES) return { reason: "the parsers failed on too many files; a restart brings them back" };
    const loaded = this.load(language);
    return "reason" in loaded ? loaded : this.read(plain, language, loaded, stop);
  }

  private load(language: Language): LoadedLanguage | { reason: string } {
    const known = this.loaded.get(language);
    if (known) return known;
    const loaded = attempt(() => loadLanguage(language, this.runtime));
    this.loaded.set(language, loaded);
    return loaded;
  }

  /** Some texts exhaust the parser's stack. Then the stack is set back and the parser replaced, so that the next file can be read. */
  private read(text: string, language: Language, loaded: LoadedLanguage, stop: Stop): Outlined | { reason: string } {
    const { stack } = this.runtime;
    const pointer = stack.pointer();
    try {
      return read(text, language, loaded, limit(stop));
    } catch (error) {
      if (EngineError.is(error)) throw error;
      if (error instanceof TooLong) return { reason: `it takes more than ${MOST_MS / 1000} seconds to parse` };
      stack.setPointer(pointer);
      replaceParser(loaded);
      this.failures++;
      return { reason: `its parser failed (${plainError(error).message})` };
    }
  }
}

function attempt(load: () => LoadedLanguage): LoadedLanguage | { reason: string } {
  try {
    return load();
  } catch (error) {
    return { reason: `its grammar cannot be loaded (${plainError(error).message})` };
  }
}

function read(text: string, { docstrings }: Language, loaded: LoadedLanguage, check: () => void): Outlined | { reason: string } {
  const tree = parse(loaded.parser, text, check);
  try {
    const walk = new Walk(text, loaded.entries, check);
    walk.file(tree.rootNode, docstrings === true);
    const lines = walk.ranges();
    if (!walk.declares || lines.length === 0) return { reason: "it declares nothing that an outline could keep" };
    return { lines, symbols: walk.symbols, definitions: [...walk.definitions] };
  } finally {
    tree.delete();
  }
}

class TooLong extends Error {}

/** Throws `aborted` when the work should stop, and `TooLong` when it has had its time. */
function limit(stop: Stop): () => void {
  const end = performance.now() + MOST_MS;
  return () => {
    if (stop()) throw abortedError();
    if (performance.now() > end) throw new TooLong();
  };
}

/** Parsers count a line break only at "\\n"; a byte order mark is none of their business. */
function withPlainLineEnds(text: string): string {
  const body = text.startsWith("\uFEFF") ? text.slice(1) : text;
  return body.includes("\r") ? body.replace(/\r\n?/g, "\n") : body;
}

/** Of a minified file, an outline would keep nothing. */
function isMostlyGiantLines(text: string): boolean {
  let giant = 0;
  for (let start = 0; start < text.length;) {
    const found = text.indexOf("\n", start);
    const end = found < 0 ? text.length : found;
    if (end - start > LONGEST_LINE) giant += end - start;
    start = end + 1;
  }
  return giant > text.length / 2;
}
