import { bash } from "./languages/bash.ts";
import { cpp } from "./languages/cpp.ts";
import { csharp } from "./languages/csharp.ts";
import { css } from "./languages/css.ts";
import { go } from "./languages/go.ts";
import { java } from "./languages/java.ts";
import { javascript, tsx, typescript } from "./languages/javascript.ts";
import { php } from "./languages/php.ts";
import { python } from "./languages/python.ts";
import { ruby } from "./languages/ruby.ts";
import { rust } from "./languages/rust.ts";
import type { Language } from "./rules.ts";

/**
 * Languages by the last part of a file's name, or its whole name.
 *
 * PowerShell is not among them, although its grammar is at hand: V8 optimises that grammar's lexer for 13 s of processor time
 * (Node 20), or with 1 GB of memory (Node 24), as soon as one file has been read.
 */
const languages: readonly (readonly [Language, string])[] = [
  [javascript, ".js .jsx .mjs .cjs"],
  [typescript, ".ts .mts .cts"],
  [tsx, ".tsx"],
  [python, ".py .pyi .pyw"],
  [go, ".go"],
  [rust, ".rs"],
  [java, ".java"],
  [cpp, ".c .h .cc .cpp .cxx .c++ .hh .hpp .hxx .h++ .ipp .inl .tpp .cu .cuh .ino"],
  [csharp, ".cs .csx"],
  [ruby, ".rb .rake .gemspec .ru Rakefile Gemfile"],
  [php, ".php .phtml"],
  [bash, ".sh .bash .ksh .bashrc .bash_profile .profile"],
  [css, ".css"],
];

const byEnding = new Map(languages.flatMap(([language, endings]) => endings.split(" ").map((ending) => [ending, language])));

/** The language of a file by its name, which may be a path with "/"; undefined where there is no outline for it. */
export function languageOf(path: string): Language | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return byEnding.get(name) ?? byEnding.get(name.slice(Math.max(0, name.lastIndexOf("."))).toLowerCase());
}

/** The grammar files that an outline may need, without folder. */
export const grammarNames: readonly string[] = [...new Set(languages.map(([{ grammar }]) => grammar))];
