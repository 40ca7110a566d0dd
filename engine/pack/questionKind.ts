/** What a question asks for, by its wording: the same words always give the same kind. English only; anything else is `unknown`. */

import { readByWords } from "./questionWords.ts";

export type QuestionKind =
  | "definition"
  | "value"
  | "signature"
  | "return"
  | "import"
  | "caller"
  | "comment"
  | "key"
  | "file"
  | "number"
  | "variables"
  | "unknown";

export interface ReadQuestion {
  kind: QuestionKind;
  /** What it asks about: a name, or of `variables` a value; empty where none was found. */
  name: string;
}

/** The first pattern that matches decides, so that narrow wordings stand before wide ones. `{}` stands for the name, `{code}` for one that is no plain word. */
const WORDINGS: readonly { kind: QuestionKind; wordings: readonly string[] }[] = [
  {
    kind: "number",
    wordings: [
      "magic numbers?\\b.*? for {}",
      "secret numbers?\\b.*? for {}",
      "(?:numbers?|code) (?:for|of) {} mentioned",
      "magic numbers? (?:does|do) {} have",
      "numbers? (?:was|were) given for {}",
      "numbers for {}",
    ],
  },
  {
    kind: "variables",
    wordings: [
      "(?:which|what|all|the) variables\\b.*? (?:value|equal to|set to|hold|store|contain) {}",
      "variables (?:that|which) (?:are|have|hold)\\b.*? {}",
      "variables assigned\\b.*? {}",
      "variables are assigned {}",
      "variable that (?:has|gets|holds) the value {}",
    ],
  },
  {
    kind: "comment",
    wordings: [
      "(?:comment|doc ?strings?|jsdoc|documentation|doc comment)s?\\b.*? (?:above|on|of|for|before|at|over|about) {}",
      "how is {} documented",
      "(?:docstring|comment) {}",
      "what is {} for$",
      "{}'s (?:docstring|comment|documentation)",
      "(?:comment|docstring|docs|author)s?\\b.*? (?:describes?|say about|of|has) {}",
      "(?:written|said|note) (?:above|about) {}",
      "purpose of {code}",
      "(?:describe|explain|tell me about|why is there) {code}$",
      "what does {code} do$",
    ],
  },
  {
    kind: "signature",
    wordings: [
      "(?:signature|parameters?|arguments?|params|args)\\b.*? (?:of|for|does|do|to) {}",
      "(?:signature|parameters|arguments) {code}",
      "(?:parameters?|arguments?|params|args) (?:does|do|can|must) {} (?:take|have|accept|need|expect)",
      "what does {} (?:take|accept|expect)",
      "how (?:do i|do you|should i|to|is|can i) (?:call|invoke)(?:ed)? {}",
      "{}'s (?:signature|parameters|arguments)",
      "(?:which|what) (?:parameters?|arguments?|inputs?|options?) (?:has|does|do|can) {}",
      "what (?:should|must|can|do) i (?:have to )?(?:pass|hand|give) to {}",
      "what can {} be given",
    ],
  },
  {
    kind: "return",
    wordings: [
      "what (?:is|are|gets) returned (?:by|from) {}",
      "(?:what|which value) (?:do|does)(?: the (?:function|method))? {} (?:return|give back|yield|evaluate to)",
      "what {} returns",
      "(?:return (?:value|type|statement)|result) (?:of|for|from|in) {}",
      "how is (?:the result of )?{} (?:computed|calculated)",
      "what (?:do|does) (?:a call of |callers of )?{} (?:give(?: back)?|hand back|produce|receive)$",
      "(?:value|expression|line)s? (?:is |are )?returned (?:by|from) {}",
      "which (?:expression|line) (?:does )?{} return",
      "which line returns from {}",
      "is given back by {}",
      "(?:output|return) of {}",
      "what result does {} have",
      "how does {code} end",
    ],
  },
  {
    kind: "import",
    wordings: [
      "(?:which|what) (?:files?|lines?|modules?|code) (?:imports?|requires?|includes?) {}",
      "(?:what|who) imports {}",
      "(?:where|how) (?:is|are|do we|does it) {} (?:imported|required|included)",
      "where does {} come from",
      "where (?:do|does) (?:we|they|you|it|the file) get {}",
      "how do (?:we|they|you) import {}",
      "(?:which|what) module is {} from",
      "which module provides {}",
      "(?:line|statement) that imports {}",
      "(?:statement|line) is {} imported",
      "brings {} into",
      "where do(?:es)? (?:we|it) import {}",
      "imports? (?:statement )?(?:of|for) {}",
    ],
  },
  {
    kind: "caller",
    wordings: [
      "(?:who|what|which (?:code|functions?|lines?|files?|methods?)) (?:calls?|uses?|invokes?) {}",
      "where (?:is|are|do we|does it) {} (?:being )?(?:called|used|invoked)",
      "where do(?:es)? (?:we|it) (?:call|use|invoke) {}",
      "(?:callers?|calls?|usages?|uses?) (?:of|to) {}",
      "which place (?:calls|uses) {}",
      "where do they (?:call|use) {}",
      "where {} is (?:called|used)",
      "by whom is {} (?:called|used)",
      "where does {} get (?:called|used)",
    ],
  },
  {
    kind: "file",
    wordings: [
      "(?:which|what) file (?:defines|declares|contains|has|implements|holds)(?: the (?:definition|declaration|code) of)? {}",
      "in (?:which|what) file (?:is|are|does|can i find) {}",
      "(?:which|what) file is {}",
      "(?:in|under) (?:which|what) (?:module|path|file) (?:is|can i see) {}",
      "file (?:of|that (?:defines|declares|implements)) {}",
    ],
  },
  {
    kind: "key",
    wordings: [
      "(?:config(?:uration)?|settings?) (?:(?:key|option|entry|value) )?(?:for|of|called|named) {}",
      "(?:config(?:uration)?|settings?) (?:(?:key|option|entry|value) )?{code}",
      "(?:key|option|setting|property|field|entry) (?:(?:for|of|called|named) )?{}",
      "what is the {} (?:option|setting|key|entry|property|field)",
      "{} (?:configured|set in the config)",
      "(?:config(?:uration)?|settings?) (?:gives?|has|says? for) {}",
      "(?:does|do|will) the config(?:uration)? (?:give|say for) {}",
      "{} in the (?:config(?:uration)?|settings)",
      "configured {}",
    ],
  },
  {
    kind: "value",
    wordings: [
      "value (?:of|for|assigned to) {}",
      "value (?:does|has) {}",
      "what(?: is|'s|s) {} (?:set to|equal to|initiali[sz]ed to|assigned)",
      "what does {} equal",
      "value is assigned to {}",
      "how (?:large|big|long|many|much|high|small) (?:is|are) {}",
      "(?:default|initial value) (?:of|for) {}",
      "what is the constant {}",
      "{} initiali[sz]ed with",
      "{} equals what",
      "what is in {code}$",
      "to what is {} set",
      "what did (?:they|we|you) set {} to",
      "print {code}$",
      "what does {} hold$",
      "which literal is {}",
    ],
  },
  {
    kind: "definition",
    wordings: [
      "(?:definition|declaration|implementation|code) of {}",
      "where(?: is|'s| are|s) {} (?:defined|declared|implemented|located|found|written)",
      "where(?: is|'s| are|s) {}(?:,? please|,? in .*)?$",
      "(?:where|how)(?: exactly)? (?:is|are|was|were) {} (?:defined|declared|implemented|written)",
      "where (?:do|does|did) (?:you|we|they|it) (?:define|declare|implement) {}",
      "where does {} (?:live|start|begin)",
      "lines? (?:that )?(?:defines?|declares?|implements?|introduces?) {}",
      "what line is {} on",
      "{}: where is it",
      "looking for {code}$",
      "(?:where|show me where|find where) {} is (?:defined|declared|implemented)",
      "(?:who|what) (?:defines|declares|implements) {}",
      "(?:find|show me|go to|show) {}$",
      "(?:open|jump to|locate|what is) {code}$",
    ],
  },
];

/** A name in a question: marked by backticks or quotation marks, or a word that may be dotted, hyphened or called. */
const NAME =
  "(?:the (?:(?:function|method|class|constant|variable|type|module|key|option|setting|value|interface) )?|function |method |class |constant |variable )?" +
  "(?:`(?<marked>[^`\\n]+)`|[\"“'](?<quoted>[^\"”'\\n]+)[\"”']|(?<bare>@?[\\p{L}\\p{N}_$][\\p{L}\\p{N}_$.\\-/]*))(?:\\(\\))?";

const patterns = WORDINGS.flatMap(({ kind, wordings }) =>
  wordings.map((wording) => ({
    kind,
    isLoose: wording.includes("{code}"),
    pattern: new RegExp(`(?<![\\p{L}\\p{N}_])${wording.replace(/\{(?:code)?\}/, NAME)}(?![\\p{L}\\p{N}_])`, "iu"),
  })),
);

/** Reads a question of one or several lines. */
export function readQuestion(question: string): ReadQuestion {
  const text = question
    .trim()
    .slice(0, LONGEST)
    .replaceAll(/\s+/g, " ")
    .replace(/[?.!\s]+$/, "")
    .replaceAll("’", "'");
  const isMarked = /`[^`]+`/.test(text);
  for (const { kind, pattern, isLoose } of patterns) {
    const groups = pattern.exec(text)?.groups;
    if (!groups) continue;
    const marked = groups["marked"] ?? groups["quoted"];
    // Who marks a name means that one, and no other word.
    if (marked === undefined && isMarked) continue;
    const name = (marked ?? groups["bare"] ?? "")
      .replace(/\(\)$/, "")
      .replace(/[.\-/]+$/, "")
      .trim()
      .replaceAll("`", "");
    if (name !== "" && (marked !== undefined || !(isLoose ? isPlainWord(name) : FILLERS.has(name)))) return { kind, name };
  }
  return readByWords(text) ?? { kind: "unknown", name: "" };
}

/** A word that people use for something that may be called otherwise. */
export function isPlainWord(name: string): boolean {
  return /^\p{Lu}?\p{Ll}+$/u.test(name);
}

/** A word that questions are made of: it names nothing. */
export function isFiller(word: string): boolean {
  return FILLERS.has(word.toLowerCase());
}

/** Characters; what is longer is a text that somebody pasted. */
const LONGEST = 1000;
/** Words that stand where a name could and name nothing. */
const FILLERS: ReadonlySet<string> = new Set(
  "a an and any are by call code comment config declaration definition docstring do does file files for function functions he i in is it its line lines me my of or our repository set she that the their them there they this those to us variable variables we what where which who why you your".split(
    " ",
  ),
);
