/** How near a file is to what is asked: which ones are kept first when not everything fits. */
import { bearsOut } from "./bearsOut.ts";
import { type Mentions, namesPath, readMentions } from "./mentions.ts";
import { isPlainWord, type QuestionKind, readQuestion } from "./questionKind.ts";
import { holdsWord } from "./wholeWord.ts";

/** What the questions of a conversation name, and what is asked of it. */
export interface Asked {
  readonly mentions: Mentions;
  readonly names: readonly AskedName[];
}

interface AskedName {
  readonly name: string;
  readonly kind: SoughtKind;
}

/** Kinds whose answer is a line that says the name; around a definition stands what the others ask for. */
type SoughtKind = Exclude<QuestionKind, "return" | "comment" | "unknown">;

export interface Nearness {
  /** The lower, the nearer: 0 where the question names the file. */
  rank: number;
  /** In words; empty where nothing speaks for the file. */
  because: string;
}

export function readAsked(questions: readonly string[]): Asked {
  const names = questions.flatMap((question): AskedName[] => {
    const { kind, name } = readQuestion(question);
    const isOther = (word: string): boolean => word !== name && (name === "" || !isPlainWord(word) || isMarked(question, word));
    const others = readMentions([question]).identifiers.filter(isOther);
    return [
      ...(name === "" ? [] : [{ name, kind: soughtFor(kind) }]),
      ...others.map((other) => ({ name: other, kind: "definition" as const })),
    ];
  });
  return { mentions: readMentions(questions), names };
}

/** Beside a name that is asked about, plain words are only what is said of it. */
function isMarked(question: string, word: string): boolean {
  return [`\`${word}`, `"${word}`, `${word}(`].some((mark) => question.includes(mark));
}

/** Of a file by its path and the lines that would be given of it. O(characters) for each name. */
export function nearnessOf({ mentions, names }: Asked, path: string, lines: readonly (string | undefined)[]): Nearness {
  if (namesPath(mentions, path)) return { rank: 0, because: "the question names this file" };
  // Most names are in few files: looking through one long text takes a fraction of looking through its lines.
  const text = names.length === 0 ? "" : lines.join("\n");
  let contained: string | undefined;
  for (const { name, kind } of names) {
    if (!text.includes(name)) continue;
    for (const line of lines) {
      if (line === undefined || !holdsWord(line, name)) continue;
      if (showsIn(line, name, kind)) return { rank: 1, because: `seems to ${VERBS[kind]} ${name}` };
      contained ??= name;
    }
  }
  return contained === undefined ? { rank: 3, because: "" } : { rank: 2, because: `contains ${contained}` };
}

/** Numbers of the lines that bear out what is asked, or where none does, of those that hold a name; ascending. */
export function linesAsked({ names }: Asked, lines: readonly (string | undefined)[]): number[] {
  const [shown, held]: [number[], number[]] = [[], []];
  lines.forEach((line = "", i) => {
    const here = names.filter(({ name }) => holdsWord(line, name));
    if (here.length === 0) return;
    held.push(i + 1);
    if (here.some(({ name, kind }) => showsIn(line, name, kind))) shown.push(i + 1);
  });
  return shown.length > 0 ? shown : held;
}

function showsIn(line: string, name: string, kind: SoughtKind): boolean {
  return line.length <= LONGEST_LINE && bearsOut(kind, line.trim(), name);
}

function soughtFor(kind: QuestionKind): SoughtKind {
  return kind === "return" || kind === "comment" || kind === "unknown" ? "definition" : kind;
}

/** Characters; a longer line is data or a bundle, and no answer. */
const LONGEST_LINE = 2000;

const VERBS: Readonly<Record<SoughtKind, string>> = {
  definition: "define",
  file: "define",
  signature: "define",
  value: "set",
  key: "set",
  import: "import",
  caller: "call",
  number: "give a number for",
  variables: "set something to",
};
