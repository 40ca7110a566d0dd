/** Which files go into the contexts that questions are asked about, and which of their questions are asked. */
import { type Question, type QuestionContext, type QuestionType, questionTypes, type SourceFile } from "./api.ts";
import { drawFor, shuffled } from "./draw.ts";
import { factsOf, type FactKind } from "./facts.ts";
import { makeNeedles, plant } from "./plant.ts";
import { type FactFile, questionsOf } from "./questions.ts";

/** A file of the repository with the tokens that it takes in a prompt, header line included. */
export interface CountedFile extends SourceFile {
  tokens: number;
}

export interface ContextOptions {
  files: readonly CountedFile[];
  /** Tokens that prompt and answer may take; "whole" gives every context all files, whatever the window takes of them. */
  length: number | "whole";
  /** Of these, what question and answer are kept free. */
  reserveTokens: number;
  /** Questions of each type. */
  perType: number;
  seed: number;
  /** Tokens of a line that is planted. */
  countTokens: (line: string) => number;
}

/** Questions of one type from one context: more would measure the context and not the model. */
const PER_CONTEXT = 4;
/** Contexts without a new question after which no further ones are made. */
const MOST_DRY = 6;
/** Tokens that are not worth a further file. */
const FULL_ENOUGH = 48;
const NEEDLES = 4;

/**
 * Contexts of one length: whole files around one that can answer what is still missing, others in a drawn order as long as they fit. A file longer
 * than the length is in none of them. The same files and seed give the same contexts; fewer questions than `perType` where the files do not hold
 * as many.
 */
export function* contextsOf(options: ContextOptions): Generator<QuestionContext> {
  const { files, length, reserveTokens, perType, seed } = options;
  const lengthTokens = length === "whole" ? files.reduce((sum, { tokens }) => sum + tokens, 0) : length;
  const budget = length === "whole" ? Infinity : length - reserveTokens - needleRoom(options);
  const known = files
    .filter(({ tokens }) => tokens <= budget)
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map((file) => ({ file, facts: factsOf(file) }));
  const names = [...new Set(files.flatMap(({ symbols }) => symbols.map(({ name }) => name)))]
    .filter((name) => /^\w{4,}$/.test(name))
    .sort();
  const missing = new Map<QuestionType, number>(questionTypes.map((type) => [type, perType]));
  const used = new Set<string>();
  const anchors = shuffled(known, drawFor(seed, "anchors", lengthTokens));
  let dry = 0;
  for (let round = 0; anchors.length > 0 && dry < MOST_DRY; round++) {
    const wanted = questionTypes.filter((type) => (missing.get(type) ?? 0) > 0);
    if (wanted.length === 0) break;
    const anchor = takeAnchor(anchors, wanted);
    if (anchor === undefined) break;
    const draw = drawFor(seed, "context", lengthTokens, round);
    const chosen = fill(anchor, shuffled(known, draw), budget);
    const packed = chosen
      .map(({ file, facts }): FactFile => ({ path: file.path, lines: file.lines, facts, planted: false }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
    const needles = makeNeedles(needleCount(wanted, round), packed.flatMap(({ lines }) => lines).join("\n"), draw);
    const { files: grown, planted } = plant(packed, needles, draw);
    const questions = choose(questionsOf({ files: grown, planted, otherNames: names, wanted: new Set(wanted), draw }), {
      missing,
      used,
      order: draw,
    });
    dry = questions.length === 0 ? dry + 1 : 0;
    if (questions.length === 0) continue;
    const given = grown.map(({ path, lines, planted: isPlanted }) => ({ path, lines, planted: isPlanted }));
    yield { lengthTokens, anchor: anchor.file.path, files: given, questions };
  }
}

interface KnownFile {
  file: CountedFile;
  facts: FactFile["facts"];
}

/** The next file with a fact of a type that is wanted; where no file has one, the next one of all, if what is wanted needs no fact. */
function takeAnchor(anchors: KnownFile[], wanted: readonly QuestionType[]): KnownFile | undefined {
  const kinds = wanted.map(factKindOf);
  const withFact = anchors.findIndex(({ facts }) => facts.some(({ kind, asked }) => asked && kinds.includes(kind)));
  const index = withFact < 0 && kinds.includes(undefined) ? 0 : withFact;
  return index < 0 ? undefined : anchors.splice(index, 1)[0];
}

/** What a file must say for such a question; needles and what is refused need nothing. */
function factKindOf(type: QuestionType): FactKind | undefined {
  switch (type) {
    case "definition-hard":
    case "caller":
    case "file":
      return "definition";
    case "needle":
    case "needle-multi":
    case "absent-unseen":
    case "absent-used":
      return undefined;
    default:
      return type;
  }
}

/** The anchor, then files in the given order that still fit. */
function fill(anchor: KnownFile, others: readonly KnownFile[], budget: number): KnownFile[] {
  const chosen = [anchor];
  let left = budget - anchor.file.tokens;
  for (const other of others) {
    if (left < FULL_ENOUGH) break;
    if (other.file === anchor.file || other.file.tokens > left) continue;
    chosen.push(other);
    left -= other.file.tokens;
  }
  return chosen;
}

/** One needle and several take turns while both are wanted: a context with several has no single one. */
function needleCount(wanted: readonly QuestionType[], round: number): number {
  const single = wanted.includes("needle");
  const several = wanted.includes("needle-multi");
  if (single && (!several || round % 2 === 0)) return 1;
  return several ? NEEDLES : 0;
}

/** Tokens kept free for what is planted, in every context alike. */
function needleRoom({ countTokens }: ContextOptions): number {
  const [needle] = makeNeedles(1, "", drawFor(0, "room"));
  // Keys differ by a few tokens.
  return NEEDLES * (countTokens(`${needle?.text ?? ""}\n`) + 8);
}

function choose(
  questions: readonly Question[],
  { missing, used, order }: { missing: Map<QuestionType, number>; used: Set<string>; order: (count: number) => number },
): Question[] {
  const chosen: Question[] = [];
  for (const type of questionTypes) {
    const fresh = questions.filter((question) => question.type === type && !used.has(`${type} ${question.name}`));
    const left = missing.get(type) ?? 0;
    for (const question of shuffled(fresh, order).slice(0, Math.min(PER_CONTEXT, left))) {
      chosen.push(question);
      used.add(`${type} ${question.name}`);
      missing.set(type, (missing.get(type) ?? 0) - 1);
    }
  }
  return chosen;
}
