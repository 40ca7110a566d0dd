/** What a question names: words that look like identifiers, and words that look like paths. */
export interface Mentions {
  readonly identifiers: readonly string[];
  /** Lower-case paths or file names. */
  readonly paths: readonly string[];
}

/** Words of questions themselves; they name nothing even where a file contains them. */
const QUESTION_WORDS = new Set(
  (
    "a above all an and answer any are as at be by called can code come comes computed context contain contains declared declare declares define " +
    "defined defines definition describe do docstring document documentation documented does equal explain file files find for from function " +
    "get give go has have how implement implemented import imported imports in into is it its large line lines list look made mean name named of " +
    "on or please print purpose repository result return returned returns say says set show so statement tell that the there this to use used uses " +
    "using value variable was what what's when where where's which who whole why will with work works"
  ).split(" "),
);

/**
 * Identifiers: what stands in backticks or quotes, is called (), or has an underscore, a digit or an inner capital. A
 * question without any of these gives its words that are not question words.
 */
export function readMentions(questions: readonly string[]): Mentions {
  const identifiers = new Set<string>();
  const paths = new Set<string>();
  for (const question of questions) {
    for (const [word] of question.matchAll(/[\w$./\\-]*\w\.\w+/g))
      paths.add(
        word
          .replaceAll("\\", "/")
          .replace(/^\.?\//, "")
          .toLowerCase(),
      );
    const words = [...question.matchAll(/[\p{L}_$][\p{L}\p{N}_$]*/gu)].map((match) => match[0]);
    const marked = [...question.matchAll(/[`"]([^`"]+)[`"]|([\p{L}_$][\p{L}\p{N}_$]*)\(/gu)].flatMap(
      (match) => (match[1] ?? match[2] ?? "").match(/[\p{L}_$][\p{L}\p{N}_$]*/gu) ?? [],
    );
    const shaped = words.filter((word) => /[_$\p{N}]|\p{Ll}\p{Lu}|^\p{Lu}{2,}$/u.test(word));
    const plain = words.filter((word) => word.length > 2 && !QUESTION_WORDS.has(word.toLowerCase()));
    const named = [...marked, ...shaped];
    for (const word of named.length > 0 ? named : plain) identifiers.add(word);
  }
  return { identifiers: [...identifiers], paths: [...paths] };
}

/** Whether the question names this path, or its file name. */
export function namesPath(mentions: Mentions, path: string): boolean {
  const whole = path.toLowerCase();
  return mentions.paths.some((named) => whole === named || whole.endsWith(`/${named}`));
}
