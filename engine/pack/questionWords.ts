/** What a short question asks for by single words of it, for wordings that nobody listed; it has to name one thing unmistakably. */
import type { QuestionKind, ReadQuestion } from "./questionKind.ts";

/** The first kind of which a word occurs: words that say more stand before those that go with anything. */
const WORDS: readonly (readonly [kind: QuestionKind, words: string])[] = [
  ["number", "(?:magic|secret) (?:numbers?|codes?)"],
  [
    "comment",
    "comments?|commented|docstrings?|jsdoc|docs?|documentation|documented|documents|explains?|explained|explanation|describes?|described|description|purpose|annotated|notes?",
  ],
  ["signature", "parameters?|params?|arguments?|args?|signature|inputs?|takes?(?! (?:me|us))|accepts?|expects?|pass(?:ed)?"],
  [
    "return",
    "returns?|returned|returning|yields?|gives?(?: me)? back|comes? back|get (?:back|from|when|if|out of)|results?|outputs?|hands? back|comes? out|produces?|evaluates? to",
  ],
  ["import", "imports?|imported|importing|requires?|required|comes? from|(?:pull|bring|brought)(?:s|ed)? in|includes?|included"],
  ["caller", "calls?|called|calling|callers?|invokes?|invoked|invocations?|uses?|used|usages?|triggers?|triggered"],
  ["key", "config(?:uration|ured|ure)?s?|settings?|options?|keys?|ya?ml|toml|ini"],
  ["file", "files?|paths?|filename|modules?"],
  [
    "value",
    "values?|equals?|set to|holds?|stored?|stores|contains?|initiali[sz]ed|constant|numbers?|amount|assign(?:s|ed)?|hard-?coded|how (?:many|much|big|large|long|high)",
  ],
  [
    "definition",
    "where|find|locate|definition|def|defined?|defines|declared?|declares|declaration|implement(?:s|ed|ation)?|show|go to|take|jump|open|navigate|lines?|lives?|source|code",
  ],
];

const kinds = WORDS.map(([kind, words]) => ({
  kind,
  pattern: new RegExp(`(?<![\\p{L}\\p{N}_])(?:${words})(?![\\p{L}\\p{N}_])`, "iu"),
}));

/** Words beside the name: a longer question wants more than a line. */
const MOST_WORDS = 14;

/** Undefined where it names nothing or several things, is long, or has no such word. `text` is one line. */
export function readByWords(text: string): ReadQuestion | undefined {
  const name = onlyName(text);
  if (name === undefined) return undefined;
  const words = text.replaceAll(name, " ").replaceAll(/[`"“”]|\(\)/g, " ");
  if (words.trim().split(/\s+/).length > MOST_WORDS) return undefined;
  const kind =
    /^\d+$/.test(name) && /\bvariables?\b/i.test(words) ? "variables" : kinds.find(({ pattern }) => pattern.test(words))?.kind;
  return kind && { kind, name };
}

/** A question without the words by which its kind is told. */
export function withoutKindWords(text: string): string {
  return kinds.reduce((rest, { pattern }) => rest.replaceAll(new RegExp(pattern, "giu"), " "), text);
}

/** What stands between marks; else a word that only code has: with a capital, a digit or a sign inside, or called. */
function onlyName(text: string): string | undefined {
  const marked = [...text.matchAll(/`([^`]+)`|["“]([^"”]+)["”]/g)].map((match) => match[1] ?? match[2] ?? "");
  const written = text.match(/[\p{L}\p{N}_$@][\p{L}\p{N}_$./-]*(?:\(\))?/gu) ?? [];
  const coded = written
    .map((word) => word.replace(/[./-]+$/, ""))
    .filter((word) => /\p{Ll}\p{Lu}|[\p{L}\p{N}][_$./-]\p{L}|[_$@]|\d|\(\)$/u.test(word));
  const names = new Set((marked.length > 0 ? marked : coded).map((name) => name.replace(/\(\)$/, "").trim()));
  const [only] = names;
  return names.size === 1 && only !== "" ? only : undefined;
}
