/** What one file says that can be asked for: each fact is a kind, a name and the one line that holds the answer. */
import type { SourceFile } from "./api.ts";
import {
  commentWords,
  constantOf,
  docstringOf,
  importCloses,
  importOpens,
  importsOf,
  innerFunction,
  isConfiguration,
  keyOf,
  lineLanguageOf,
  nameIn,
  returnLine,
} from "./patterns.ts";

export type FactKind = "definition" | "signature" | "constant" | "return" | "import" | "comment" | "key";

/** The lines first..last of its file (1-based, inclusive) show that `line` is the answer. */
export interface Fact {
  kind: FactKind;
  name: string;
  first: number;
  last: number;
  line: number;
  /** False: it is known to be there, so that no other line is taken for the only one, but not to be asked for. */
  asked: boolean;
}

/** Everything that can be asked for in a file, in the order of its lines. */
export function factsOf(file: SourceFile): Fact[] {
  const facts = [...lineFacts(file), ...symbolFacts(file)];
  return facts.sort((a, b) => a.line - b.line || (a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : 0));
}

function lineFacts({ path, lines }: SourceFile): Fact[] {
  const language = lineLanguageOf(path);
  if (language === undefined) return [];
  const facts: Fact[] = [];
  let inImport = false;
  lines.forEach((text, i) => {
    const line = i + 1;
    const at = (kind: FactKind, name: string, asked = true): void => {
      facts.push({ kind, name, first: line, last: line, line, asked });
    };
    if (inImport) {
      for (const [name] of text.matchAll(/[A-Za-z_$][\w$]*/g)) at("import", name, false);
      inImport = !importCloses.test(text);
      return;
    }
    inImport = !isConfiguration(language) && importOpens.test(text);
    if (inImport) return;
    for (const name of importsOf(text, language)) at("import", name);
    const constant = constantOf(text, language);
    if (constant !== undefined) at("constant", constant);
    const key = keyOf(text, language);
    if (key !== undefined) at("key", key);
  });
  return facts;
}

function symbolFacts({ path, lines, symbols }: SourceFile): Fact[] {
  const facts: Fact[] = [];
  for (const { name, kind, nameLine, endLine } of symbols) {
    const text = lines[nameLine - 1];
    // What an outline names by an expression, or on another line, cannot be found by its name.
    if (text === undefined || nameIn(name) === undefined || !/^[A-Za-z_$][\w$]*$/.test(name) || !text.includes(name)) continue;
    // A field has a meaning only beside its type: "Where is first defined?" has more answers than lines show.
    const asked = !/field|property|element/.test(kind);
    const add = (factKind: FactKind, line: number): void => {
      facts.push({ kind: factKind, name, first: Math.min(nameLine, line), last: Math.max(nameLine, line), line, asked });
    };
    add("definition", nameLine);
    const comment = commentAbove(lines, nameLine) ?? docstringBelow(path, lines, nameLine);
    if (comment !== undefined) add("comment", comment);
    if (kind !== "function" && kind !== "method") continue;
    if (text.includes("(")) add("signature", nameLine);
    const returned = onlyReturn(lines, nameLine, endLine);
    if (returned !== undefined) add("return", returned);
  }
  return facts;
}

/** The single line with words of the comment that ends right above a line. */
function commentAbove(lines: readonly string[], below: number): number | undefined {
  let found: number | undefined;
  for (let line = below - 1; line >= 1; line--) {
    const text = lines[line - 1]?.trim() ?? "";
    const isPart = /^(?:\/\/|\/\*|\*|#(?!!|\[))/.test(text);
    if (!isPart) break;
    if (/[A-Za-z]/.test(text)) {
      if (found !== undefined) return undefined;
      found = line;
    }
    if (text.startsWith("/*")) break;
  }
  return found !== undefined && commentWords(lines[found - 1] ?? "") !== undefined ? found : undefined;
}

function docstringBelow(path: string, lines: readonly string[], definition: number): number | undefined {
  if (lineLanguageOf(path) !== "py" || !(lines[definition - 1] ?? "").trimEnd().endsWith(":")) return undefined;
  return docstringOf(lines[definition] ?? "") === undefined ? undefined : definition + 1;
}

/** The line of the single return in a function whose body holds no other function. */
function onlyReturn(lines: readonly string[], nameLine: number, endLine: number): number | undefined {
  let found: number | undefined;
  for (let line = nameLine + 1; line <= endLine; line++) {
    const text = lines[line - 1] ?? "";
    if (innerFunction.test(text)) return undefined;
    if (!/\breturn\b/.test(text)) continue;
    if (found !== undefined || !returnLine.test(text)) return undefined;
    found = line;
  }
  return found;
}
