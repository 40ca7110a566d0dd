/** The questions that one context answers with exactly one line, and those that it does not answer. */
import type { ContextFile, ExpectedAnswer, Question, QuestionType } from "./api.ts";
import { type Draw, oneOf, shuffled } from "./draw.ts";
import type { Fact } from "./facts.ts";
import { PackText, type TextLine } from "./packText.ts";
import { anyKeyOf, bindingOf, callOf, calls, isComment, isConfiguration, lineLanguageOf, nameIn } from "./patterns.ts";
import type { Planted } from "./plant.ts";
import { phrase, type Wording } from "./wordings.ts";

/** A file of a context with what it says. */
export interface FactFile extends ContextFile {
  facts: readonly Fact[];
}

export interface QuestionOptions {
  /** In the order of the prompt. */
  files: readonly FactFile[];
  planted: readonly Planted[];
  /** Names that the rest of the repository defines: what people could ask although it is not in this context. */
  otherNames: readonly string[];
  /** Types that are made; others cost nothing. */
  wanted: ReadonlySet<QuestionType>;
  draw: Draw;
}

/** Longer lines are not asked for: an answer has to end within its tokens. */
const LONGEST_ANSWER = 160;
/** Unanswerable questions of each kind from one context. */
const ABSENT = 8;
const ABSENT_WORDINGS = ["definition", "definition", "file", "constant", "return"] as const satisfies readonly Wording[];

/** What can be asked of a fact. */
const typesOf: Readonly<Record<Fact["kind"], readonly QuestionType[]>> = {
  definition: ["definition", "definition-hard", "file", "caller"],
  signature: ["signature"],
  constant: ["constant"],
  return: ["return"],
  import: ["import"],
  comment: ["comment"],
  key: ["key"],
};

/** All wanted questions of a context, each with one answer and no other, in an order that the files decide. */
export function questionsOf({ files, planted, otherNames, wanted, draw }: QuestionOptions): Question[] {
  const text = new PackText(files);
  const facts = new Facts(files, text);
  const found: Omit<Question, "text">[] = facts.all
    .filter(({ kind }) => typesOf[kind].some((type) => wanted.has(type)))
    .flatMap((fact) => asked(fact, facts, text));
  for (const { key, path, line, of } of planted) {
    const expected = text.firstMention(key);
    if (expected?.path === path && expected.line === line && text.holding(key).length === 1)
      found.push({ type: of === 1 ? "needle" : "needle-multi", name: key, expected });
  }
  const answerable = found.map((question) => ({ ...question, text: phrase(wordingOf(question.type), question.name, draw) }));
  const all = [
    ...answerable,
    ...(wanted.has("absent-unseen") ? unseenNames(text, otherNames, draw).map(absent("absent-unseen", draw)) : []),
    ...(wanted.has("absent-used")
      ? shuffled(usedNames(facts, text), draw).slice(0, ABSENT).map(absent("absent-used", draw))
      : []),
  ];
  return all.filter(({ type }) => wanted.has(type));
}

/** A fact of one context: it stands in one of its files. */
interface PlacedFact extends Fact {
  path: string;
  text: string;
}

/** Facts of a context by kind and name. */
class Facts {
  readonly all: readonly PlacedFact[];
  private readonly counts = new Map<string, number>();

  constructor(
    readonly files: readonly FactFile[],
    private readonly text: PackText,
  ) {
    this.all = files.flatMap(({ path, lines, facts }) =>
      facts.map((fact) => ({ ...fact, path, text: (lines[fact.line - 1] ?? "").trim() })),
    );
    for (const { kind, name } of this.all) this.counts.set(`${kind} ${name}`, this.count(kind, name) + 1);
  }

  count(kind: Fact["kind"], name: string): number {
    return this.counts.get(`${kind} ${name}`) ?? 0;
  }

  /** Whether no line but this one could give the name a meaning. */
  boundOnlyAt(name: string, path: string, line: number): boolean {
    const binds = bindingOf(name);
    return this.text
      .holding(name)
      .every((other) => (other.path === path && other.line === line) || isComment(other.text) || !binds(other.text));
  }
}

function asked(fact: PlacedFact, facts: Facts, text: PackText): Omit<Question, "text">[] {
  const { kind, name, path, line } = fact;
  const expected: ExpectedAnswer = { path, line, text: fact.text };
  if (!fact.asked || facts.count(kind, name) !== 1 || !isAnswer(expected, text)) return [];
  const as = (type: QuestionType, answer = expected): Omit<Question, "text"> => ({ type, name, expected: answer });
  switch (kind) {
    case "import":
      return [as("import")];
    case "key": {
      const binds = bindingOf(name);
      const holders = text.holding(name).filter((other) => anyKeyOf(other.text) === name || binds(other.text));
      return holders.length === 1 && facts.count("definition", name) === 0 ? [as("key")] : [];
    }
    case "constant":
      return facts.count("definition", name) <= 1 && facts.boundOnlyAt(name, path, line) ? [as("constant")] : [];
    case "definition": {
      if (!facts.boundOnlyAt(name, path, line)) return [];
      const first = text.firstMention(name);
      const isFirst = first?.path === path && first.line === line;
      const call = onlyCall(fact, text);
      return [
        as(isFirst ? "definition" : "definition-hard"),
        as("file", { path, line, text: path }),
        ...(call === undefined ? [] : [as("caller", call)]),
      ];
    }
    default:
      // Facts of a definition hold where the definition is the only one.
      return facts.count("definition", name) === 1 && facts.boundOnlyAt(name, path, definitionLine(fact)) ? [as(kind)] : [];
  }
}

/** The line of the definition that a fact belongs to: comments stand above it or, as docstrings, below. */
function definitionLine({ kind, first, last, line }: Fact): number {
  return kind === "comment" ? (line === first ? last : first) : first;
}

function isAnswer({ text: line }: ExpectedAnswer, text: PackText): boolean {
  return line.length > 2 && line.length <= LONGEST_ANSWER && text.count(line) === 1;
}

/** The only line that calls what a fact defines; comments that show another call make it not the only one. */
function onlyCall({ name, path, line }: PlacedFact, text: PackText): ExpectedAnswer | undefined {
  const others = text.holding(name).filter((other) => other.path !== path || other.line !== line);
  const shown = others.filter((other) => other.text.search(callOf(name)) >= 0);
  const [only] = shown;
  if (only === undefined || shown.length > 1 || !calls(only.text, name)) return undefined;
  const call = { path: only.path, line: only.line, text: only.text.trim() };
  return isAnswer(call, text) ? call : undefined;
}

function wordingOf(type: QuestionType): Wording {
  switch (type) {
    case "definition-hard":
    case "absent-unseen":
    case "absent-used":
      return "definition";
    case "needle-multi":
      return "needle";
    default:
      return type;
  }
}

function absent(type: QuestionType, draw: Draw): (name: string) => Question {
  return (name) => ({
    ...{ type, name, expected: undefined },
    text: phrase(oneOf(ABSENT_WORDINGS, draw) ?? "definition", name, draw),
  });
}

/** Names that occur nowhere in the context: of other files where there are some, else made up. */
function unseenNames(text: PackText, otherNames: readonly string[], draw: Draw): string[] {
  const unseen: string[] = [];
  for (const name of shuffled(otherNames, draw)) {
    if (unseen.length >= ABSENT) return unseen;
    if (!text.mentions(name)) unseen.push(name);
  }
  while (unseen.length < ABSENT) {
    const made = madeUpName(text, draw);
    if (made === undefined) break;
    if (!unseen.includes(made)) unseen.push(made);
  }
  return unseen;
}

/** A name of two words of the context that does not stand there; undefined where none is found. */
function madeUpName(text: PackText, draw: Draw): string | undefined {
  const parts = new Set(
    [...text.words].flatMap((word) => word.match(/[A-Z]?[a-z]{3,9}/g) ?? []).map((part) => part.toLowerCase()),
  );
  const choices = [...parts].sort();
  for (let tries = 0; tries < 32 && choices.length > 1; tries++) {
    const [first = "", second = ""] = [oneOf(choices, draw), oneOf(choices, draw)];
    const name = first + second.charAt(0).toUpperCase() + second.slice(1);
    if (first !== second && !text.mentions(name)) return name;
  }
  return undefined;
}

/** Names that code uses and that no line of the context could give a meaning. */
function usedNames(facts: Facts, text: PackText): string[] {
  const bound = new Set(facts.all.filter(({ kind }) => kind !== "import" && kind !== "comment").map(({ name }) => name));
  const used = [...text.words].filter((name) => {
    if (name.length < 4 || nameIn(name) === undefined || bound.has(name)) return false;
    const lines = text.holding(name);
    if (!lines.some((line) => isUse(line, name))) return false;
    const binds = bindingOf(name);
    return !lines.some((line) => binds(line.text) || isListed(line, name));
  });
  return used.sort();
}

/** A call in code: a use that no reader takes for prose. */
function isUse({ path, text }: TextLine, name: string): boolean {
  const language = lineLanguageOf(path);
  return language !== undefined && !isConfiguration(language) && !isComment(text) && calls(text, name);
}

/** Alone on its line: one of a list of parameters, perhaps, or of what an object is taken apart into. */
function isListed({ text }: TextLine, name: string): boolean {
  return (
    text
      .trim()
      .replace(/^\.\.\./, "")
      .replace(/\s*,$/, "") === name
  );
}
