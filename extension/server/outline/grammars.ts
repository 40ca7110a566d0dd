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

/** The stack of the runtime's compiled C. */
export interface Stack {
  pointer(): number;
  setPointer(pointer: number): void;
}

/** The parsers' WebAssembly runtime, of which a thread has one, and the folder with the grammars for it. */
export interface Runtime {
  readonly folder: string;
  readonly stack: Stack;
}

const FILE = "web-tree-sitter.wasm";
let runtime: Promise<Stack> | undefined;

/**
 * Starts the runtime of the parsers; without a folder it is the one that the build puts beside the bundles. Throws `not-found`
 * where there is none.
 */
export async function openRuntime(folder?: string): Promise<Runtime> {
  const found = folder ?? (await besideBundle());
  if (!(await exists(join(found, FILE)))) throw notInstalled(found);
  return { folder: found, stack: await (runtime ??= startRuntime(join(found, FILE))) };
}

/** Loads a grammar; throws with the reason where its file is missing, damaged or made for another runtime. */
export function loadLanguage({ grammar, rules }: Language, { folder }: Runtime): LoadedLanguage {
  // Compiled at once: a compilation in the background waits in line behind V8's optimisation of other grammars, for seconds.
  const loaded = Grammar.loadSync(new WebAssembly.Module(readFileSync(join(folder, `tree-sitter-${grammar}.wasm`))));
  const entries = Array.from({ length: loaded.nodeTypeCount }, (_, id) => {
    const name = loaded.nodeTypeForId(id);
    return name !== null && loaded.nodeTypeIsNamed(id) && Object.hasOwn(rules, name) ? rules[name] : undefined;
  });
  return { parser: new Parser().setLanguage(loaded), entries };
}

/** A parser in place of one that failed, whose memory is given up: what it left there may be anything. */
export function replaceParser(language: LoadedLanguage): void {
  language.parser = new Parser().setLanguage(language.parser.language);
}

/**
 * Parses a text; `check` is called every few milliseconds and ends the parse by throwing. Texts made to be ambiguous can keep
 * the parser busy for a tenth of a second between two calls.
 */
export function parse(parser: Parser, text: string, check: () => void): Tree {
  let stopped: Error | undefined;
  const goesOn = (): boolean => {
    // The parser may ask a few times more before it ends.
    if (stopped) return false;
    try {
      check();
    } catch (error) {
      // Nothing may be thrown through the parser: it is told to end, and the error waits.
      stopped = error instanceof Error ? error : new Error(String(error));
    }
    return stopped === undefined;
  };
  // A scanner that looks far ahead asks for text much more often than the parser tells of progress; without text it ends.
  const read = (index: number): string | undefined => (goesOn() ? chunkOf(text, index) : undefined);
  const tree = parser.parse(read, null, { progressCallback: () => !goesOn() });
  if (tree && !stopped) return tree;
  tree?.delete();
  // Otherwise the next parse would go on with this text.
  parser.reset();
  throw stopped ?? new EngineError("internal", "the parser gave no tree", "report it with the file");
}

const CHUNK = 1024;

/** A piece of text that does not end within a character. */
function chunkOf(text: string, start: number): string {
  const end = start + CHUNK;
  const splits = (text.charCodeAt(end - 1) & 0xfc00) === 0xd800;
  return text.slice(start, splits ? end - 1 : end);
}

/**
 * The runtime comes with a stack of 64 KiB that nothing guards: ambiguous texts make the parser recur beyond it, over the
 * allocator's own data, and from then on every parse fails. So it is given a larger stack than V8 has for the same calls:
 * V8's ends first, with an exception that leaves the memory as it was.
 */
async function startRuntime(file: string): Promise<Stack> {
  let exports: object | undefined;
  await Parser.init({
    instantiateWasm(imports: WebAssembly.Imports, done: (instance: object, module: object) => void): object {
      const module = new WebAssembly.Module(readFileSync(file));
      const instance = new WebAssembly.Instance(module, imports);
      exports = instance.exports;
      done(instance, module);
      return {};
    },
  });
  const call = (name: string, ...values: number[]): number => {
    const exported: unknown = exports && Reflect.get(exports, name);
    if (typeof exported !== "function") throw notInstalled(`${file} has no ${name}`);
    return Number(Reflect.apply(exported, undefined, values));
  };
  const stack = {
    pointer: () => call("emscripten_stack_get_current"),
    setPointer: (pointer: number) => void call("_emscripten_stack_restore", pointer),
  };
  stack.setPointer(call("malloc", STACK_BYTES) + STACK_BYTES);
  return stack;
}

/** V8's stack has 1 MiB, in a worker 4 MiB. */
const STACK_BYTES = 8 * 2 ** 20;

function notInstalled(where: string): EngineError {
  return new EngineError(
    "not-found",
    `the parsers for outlines are not installed (${where})`,
    "install the extension again, or run npm run build",
    { where },
  );
}

/** The build puts the grammars beside the bundles; a test's bundle lies some folders below them. */
async function besideBundle(): Promise<string> {
  const start = typeof __dirname === "string" ? __dirname : dirname(fileURLToPath(import.meta.url));
  let folder = start;
  for (let up = 0; up <= FOLDERS_UP; up++, folder = dirname(folder)) {
    const grammars = join(folder, "grammars");
    if (await exists(join(grammars, FILE))) return grammars;
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
