import { readFileSync } from "node:fs";
import { access } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Language as Grammar, Parser, type Tree } from "web-tree-sitter";
import { EngineError } from "../../../engine/errors.ts";
import type { Language } from "./rules.ts";
import type { Entries } from "./walk.ts";

/** A grammar that is loaded: its parser, and what its node types mean. */
export interface LoadedLanguage {
  parser: Parser;
  entries: Entries;
}

const RUNTIME = "web-tree-sitter.wasm";

/**
 * Starts the parsers' runtime and returns the folder with it and the grammars; without a folder it is the one that the build
 * puts beside the bundles. Throws `not-found` where there is none.
 */
export async function openGrammars(folder?: string): Promise<string> {
  const found = folder ?? (await besideBundle());
  try {
    await access(join(found, RUNTIME));
  } catch {
    throw new EngineError(
      "not-found",
      `the parsers for outlines are not installed (${found})`,
      "install the extension again, or run npm run build",
      { folder: found },
    );
  }
  await Parser.init({ locateFile: (name: string) => join(found, name) });
  return found;
}

/** Loads a grammar; throws with the reason where its file is missing, damaged or made for another runtime. */
export function loadLanguage({ grammar, rules }: Language, folder: string): LoadedLanguage {
  // Compiled at once: a compilation in the background waits in line behind V8's optimisation of other grammars, for seconds.
  const loaded = Grammar.loadSync(new WebAssembly.Module(readFileSync(join(folder, `tree-sitter-${grammar}.wasm`))));
  const parser = new Parser();
  parser.setLanguage(loaded);
  const entries = Array.from({ length: loaded.nodeTypeCount }, (_, id) => {
    const name = loaded.nodeTypeForId(id);
    return name !== null && loaded.nodeTypeIsNamed(id) ? (Object.hasOwn(rules, name) ? rules[name] : null) : undefined;
  });
  return { parser, entries };
}

/** Parses a text; `check` is called every few milliseconds and ends the parse by throwing. */
export function parse(parser: Parser, text: string, check: () => void): Tree {
  let stopped: { by: Error } | undefined;
  const progressCallback = (): boolean => {
    try {
      check();
    } catch (error) {
      // Nothing may be thrown through the parser: it is told to end, and the error waits.
      stopped = { by: error instanceof Error ? error : new Error(String(error)) };
    }
    return stopped !== undefined;
  };
  const tree = parser.parse(text, null, { progressCallback });
  if (tree && !stopped) return tree;
  tree?.delete();
  // Otherwise the next parse would go on with this text.
  parser.reset();
  throw stopped?.by ?? new EngineError("internal", "the parser gave no tree", "report it with the file");
}

/** The build puts the grammars beside the bundles; a test's bundle lies some folders below them. */
async function besideBundle(): Promise<string> {
  const start = typeof __dirname === "string" ? __dirname : dirname(fileURLToPath(import.meta.url));
  let folder = start;
  for (let up = 0; up <= FOLDERS_UP; up++, folder = dirname(folder)) {
    const grammars = join(folder, "grammars");
    if (await exists(join(grammars, RUNTIME))) return grammars;
  }
  return join(start, "grammars");
}

const FOLDERS_UP = 4;

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
