/** Which word of a question could be the name that it is about, where nothing in the question marks one. */
import { isFiller, isPlainWord, readQuestion } from "./questionKind.ts";
import { withoutKindWords } from "./questionWords.ts";

/**
 * A question that nobody could read with that word between backticks, by which it is read: a plain word, and the only one that says anything beside the
 * words that questions are made of. Undefined where it can be read already, and where it speaks of several things. Whether the word is a name only the
 * files can tell.
 */
export function nameMarked(question: string): string | undefined {
  if (readQuestion(question).kind !== "unknown") return undefined;
  // A name, and no more: "where do we handle expired sessions" is not about `handle`.
  const meaning = new Set(meaningWords(question));
  const [name] = meaning;
  if (meaning.size !== 1 || name === undefined || !isPlainWord(name)) return undefined;
  const marked = question.replace(new RegExp(`(?<![\\p{L}\\p{N}_])${name}(?![\\p{L}\\p{N}_])`, "u"), `\`${name}\``);
  const read = readQuestion(marked);
  return read.kind !== "unknown" && read.name === name ? marked : undefined;
}

/** Words of a question that can say what it is about. */
export function meaningWords(question: string): string[] {
  const words = withoutKindWords(question).match(WORD) ?? [];
  return words.filter((word) => !COMMON.has(word.toLowerCase()) && !isFiller(word));
}

const WORD = /[\p{L}\p{N}_$]+(?:['’]\p{L}+)?/gu;

/** Words of any sentence in which somebody asks for something. */
const COMMON: ReadonlySet<string> = new Set(
  (
    "about above actual actually after again all already also always am anybody anyone anything anywhere appreciate around as ask asked asking at away back be because been before being below between " +
    "but can cannot can't check checking codebase contain contains containing could couldn't curious currently did didn't different does doesn't don't done each edit editing else even ever every everywhere exact exactly first forget forgot " +
    "from get gets getting give gives given go goes going got guess had has have haven't help here hey hi hello how how's i'd i'm i've if i'll into it's its itself just keep keeps know kindly " +
    "last let lets let's like list literally look looking lost made make makes may maybe mean meant might mind moment more most much must my name named need needed needs new next no nobody not now " +
    "off ok okay on once one only or order other out over own perhaps place places please plus pls plz point possible print put quick quickly quote re read really remember remind repo repository project right " +
    "same say says see seem seems seen set shall should sit sits site sites so some somebody someone something somewhere sorry spot still stuff such tell text than thank thanks that's then there's these thing think " +
    "this those through thx to today told too try trying under until up upon us very via wanna want wanted wants was way were we're what's when where's whether while who's will wish with within without wonder wondering " +
    "word words work write written would yes yet you'd you're your"
  ).split(" "),
);
