/**
 * What lines of source say, one line at a time. Patterns are narrow: a line that is missed costs a question, a line that is read wrongly makes a
 * question with a wrong answer.
 */

export type LineLanguage = "js" | "py" | "go" | "rust" | "java" | "json" | "yaml" | "toml" | "ini";

const byEnding: Readonly<Record<string, LineLanguage>> = {
  ...{ js: "js", jsx: "js", mjs: "js", cjs: "js", ts: "js", tsx: "js", mts: "js", cts: "js" },
  ...{ py: "py", pyi: "py", go: "go", rs: "rust", java: "java", cs: "java" },
  ...{ json: "json", yaml: "yaml", yml: "yaml", toml: "toml", ini: "ini", cfg: "ini", properties: "ini" },
};

/** The language of a file by the ending of its name; undefined for all others, of which an outline may still know what they declare. */
export function lineLanguageOf(path: string): LineLanguage | undefined {
  const ending = /\.([a-z]+)$/.exec(path.toLowerCase())?.[1] ?? "";
  return Object.hasOwn(byEnding, ending) ? byEnding[ending] : undefined;
}

/** Files whose lines are keys and values, and not code. */
export function isConfiguration(language: LineLanguage | undefined): boolean {
  return language === "json" || language === "yaml" || language === "toml" || language === "ini";
}

const ID = String.raw`([A-Za-z_$][\w$]*)`;
const NUMBER = String.raw`-?\d[\w.]*(?:\s*(?:\*\*?|<<)\s*[\w.]+)*`;
const STRING = String.raw`"[^"]{1,70}"|'[^']{1,70}'`;
const LITERAL = `(?:${NUMBER}|${STRING}|\`[^\`$]{1,70}\`|true|false|True|False|/[^/]{2,60}/[dgimsuvy]*)`;

const constants: Readonly<Partial<Record<LineLanguage, RegExp>>> = {
  js: new RegExp(String.raw`^\s*(?:export\s+)?const\s+${ID}\s*(?::[^=]+)?=\s*${LITERAL}\s*;?(?:\s*//.*)?$`),
  py: new RegExp(String.raw`^${ID}\s*(?::[^=]+)?=\s*${LITERAL}\s*(?:#.*)?$`),
  go: new RegExp(String.raw`^(?:\t|const\s+|var\s+)${ID}(?:\s+[\w.]+)?\s+=\s+${LITERAL}\s*(?://.*)?$`),
  rust: new RegExp(String.raw`^\s*(?:pub(?:\([a-z]+\))?\s+)?(?:const|static)\s+${ID}\s*:[^=]+=\s*${LITERAL}\s*;`),
  java: new RegExp(
    String.raw`^\s*(?:(?:public|private|protected|internal)\s+)?(?:static\s+final|const)\s+[\w<>[\]]+\s+${ID}\s*=\s*${LITERAL}\s*;`,
  ),
};

/** The constant that a line gives a literal value. */
export function constantOf(line: string, language: LineLanguage): string | undefined {
  return nameIn(constants[language]?.exec(line)?.[1]);
}

const keys: Readonly<Partial<Record<LineLanguage, RegExp>>> = {
  json: new RegExp(String.raw`^\s*"([A-Za-z_][\w.$-]*)"\s*:\s*(?:-?\d[\d.eE+-]*|"[^"]{1,70}"|true|false)\s*,?$`),
  yaml: /^\s*([A-Za-z_][\w.-]*):\s+(?:"[^"]{1,70}"|'[^']{1,70}'|[\w./@^~*-][^#&|>{}[\]"']{0,69})(?:\s+#.*)?$/,
  toml: new RegExp(String.raw`^\s*([A-Za-z_][\w-]*)\s*=\s*(?:${NUMBER}|${STRING}|true|false)\s*(?:#.*)?$`),
  ini: /^\s*([A-Za-z_][\w.-]*)\s*[=:]\s*[^\s=:][^=]{0,69}$/,
};

/** The configuration key that a line gives a plain value. */
export function keyOf(line: string, language: LineLanguage): string | undefined {
  return nameIn(keys[language]?.exec(line)?.[1]);
}

/** Keys that a line opens or sets, whatever the value: what a second line of the same key would be. */
export function anyKeyOf(line: string): string | undefined {
  return /^\s*(?:-\s+)?["']?([A-Za-z_][\w.$-]*)["']?\s*[:=]/.exec(line)?.[1];
}

const importLines: Readonly<Partial<Record<LineLanguage, readonly RegExp[]>>> = {
  js: [
    /^\s*import\s+(?:type\s+)?(?<symbols>[^"'()]*?)\s+from\s+["'](?<module>[^"']+)["']/,
    /^\s*import\s+["'](?<module>[^"']+)["']/,
    /^\s*(?:const|var|let)\s+(?<symbols>[^=]+?)\s*=\s*require\(\s*["'](?<module>[^"']+)["']/,
  ],
  py: [/^\s*from\s+(?<module>[\w.]+)\s+import\s+(?<symbols>[^(#]+)/, /^\s*import\s+(?<module>[\w.]+)/],
  go: [/^(?:import)?\s+(?:[\w.]+\s+)?"(?<module>[a-z][\w./-]+)"\s*$/],
  rust: [/^\s*(?:pub\s+)?use\s+(?<module>[\w:]+)(?:::\{(?<symbols>[^{}]+)\})?\s*;/],
  java: [/^\s*(?:import|using)\s+(?:static\s+)?(?<module>[\w.]+)\s*;/],
};

/** Names that a line imports: symbols, and a module by its last part. */
export function importsOf(line: string, language: LineLanguage): string[] {
  for (const pattern of importLines[language] ?? []) {
    const groups = pattern.exec(line)?.groups;
    if (!groups) continue;
    const stem =
      (groups["module"] ?? "")
        .replace(/\.(?:d\.)?[cm]?[jt]sx?$|\.json$/, "")
        .split(/[/.:]+/)
        .at(-1) ?? "";
    const symbols = (groups["symbols"] ?? "").match(/[A-Za-z_$][\w$]*/g) ?? [];
    return [...new Set([stem, ...symbols])].filter((name) => nameIn(name) !== undefined);
  }
  return [];
}

/** Lines on which an import of several lines begins, and on which it ends. */
export const importOpens =
  /^\s*(?:import|export)\b[^"']*\{[^}"']*$|^\s*from\s+[\w.]+\s+import\s+\([^)]*$|^\s*(?:pub\s+)?use\s[^;]*\{[^}]*$/;
export const importCloses = /[})]/;

/** A line that returns a whole value: an expression that goes on behind it is no answer. */
export const returnLine = /^\s*return\s+\S.*[^\s{([,=+\-*/&|?:.\\]$|^\s*return\s+[^\s{([`]$/;
/** Functions inside a function: whose return it is, no line says. */
export const innerFunction = /=>\s*\{\s*$|\bfunction\b|\bdef\s|\bfunc\s*\(|\bfn\s|\|\s*\{\s*$|\blambda\b/;

/** How many characters of documentation make it worth asking for. */
const FEWEST_COMMENT = 9;

/** The words of a line that is a comment and nothing else; undefined for all other lines, and for comments without words. */
export function commentWords(line: string): string | undefined {
  const text = line.trim();
  const found = /^(?:\/\/[/!]?|\/\*\*?|\*(?!\/)|#(?!!|\[))(.*)$/.exec(text)?.[1];
  const words = found?.replace(/\*\/$/, "").trim();
  const isPragma = /eslint|prettier|@ts-|noqa|pylint|nolint|^@|^-+|^=+/.test(words ?? "");
  return words === undefined || isPragma || !/[A-Za-z]{3}/.test(words) || text.length < FEWEST_COMMENT ? undefined : text;
}

/** Whether a line is part of a comment, as far as the line alone tells. */
export function isComment(line: string): boolean {
  return /^\s*(?:\/\/|\/\*|\*|#(?!\[|include|define))/.test(line);
}

/** A one-line docstring of Python. */
export function docstringOf(line: string): string | undefined {
  const text = line.trim();
  return /^[rRuU]?(?:"""[^"]{9,}"""|'''[^']{9,}''')$/.test(text) ? text : undefined;
}

/**
 * Tells of a line whether it could be read as giving a name a meaning: a definition, an assignment, a parameter, a field. Wide, unlike the others:
 * what is read wrongly here costs a question.
 */
export function bindingOf(name: string): (line: string) => boolean {
  const word = `(?<![\\w$])${escaped(name)}(?![\\w$])`;
  const modifiers = "(?:(?:export|default|public|private|protected|static|readonly|override|abstract|async|get|set|pub)\\s+)*";
  const alternatives = [
    `\\b(?:function\\*?|class|const|let|var|def|func|fn|type|interface|enum|struct|trait|namespace|module|record|macro_rules!|#\\s*define)\\s+(?:\\([^)]*\\)\\s*)?${word}`,
    `\\b(?:const|let|var|for|catch|as)\\b[^=]*${word}`,
    `${word}\\s*(?:[-+*/%|&^]|<<|>>|\\?\\?|\\|\\||&&)?=(?![=>])`,
    `${word}\\s*(?:=>|:=|\\?:|\\+\\+|--)`,
    // A key, a field or a parameter; what stands before the colon of a choice has neither in front.
    `(?:^|[{(,;[|&<]|\\b(?:readonly|static|public|private|protected|abstract)\\s)\\s*${word}\\s*:`,
    `^\\s*${modifiers}(?:function|def|func|fn)\\b[^)]*\\([^)]*${word}`,
    `\\([^()]*${word}[^()]*\\)\\s*(?::[^=]*)?=>`,
    // Methods: with a body, in an interface, in an interface of Go; then parameters of a method.
    `^\\s*${modifiers}\\*?${word}\\s*(?:<[^<>]*>)?\\([^()]*\\)\\s*(?::[^{]+)?\\{`,
    `^\\s*${modifiers}${word}\\??(?:<[^<>]*>)?\\([^()]*\\)\\s*:\\s*[^?]+;?$`,
    `^\\s*${word}\\([^()]*\\)\\s+[\\w*([]`,
    `^\\s*${modifiers}[\\w$]+\\([^()]*${word}[^()]*\\)\\s*(?::[^{]+)?\\{\\s*$`,
  ];
  const pattern = new RegExp(alternatives.join("|"));
  return (line) => pattern.test(line);
}

/** Tells of a line whether it shows a call of a name, in code or in a comment. */
export function callOf(name: string): RegExp {
  return new RegExp(`(?<![\\w$])${escaped(name)}(?:<[^<>()]*>)?\\(`, "g");
}

function escaped(name: string): string {
  return name.replace(/[$.-]/g, "\\$&");
}

/** Whether a line calls a name of its own object or of none, outside of comments and of strings: what other objects call so is another thing. */
export function calls(line: string, name: string): boolean {
  return [...line.matchAll(callOf(name))].some(
    ({ index }) => isCode(line.slice(0, index)) && !/(?<!this|self)\??\.$/.test(line.slice(0, index)),
  );
}

/** Whether what stands behind this beginning of a line is neither in a string nor behind a comment mark. */
function isCode(before: string): boolean {
  const even = ['"', "'", "`"].every((quote) => before.split(quote).length % 2 === 1);
  return even && !/\/\/|(?:^|\s)#\s/.test(before) && !isComment(before);
}

const NO_NAMES = new Set(
  (
    "if for while switch catch function return with constructor else do try default from of in as new await yield typeof super this type interface " +
    "import export const let var class static get set async null undefined true false self cls void string number boolean main init use mod crate std module exports"
  ).split(" "),
);
const FEWEST_LETTERS = 3;

/** The name, where it is one that can be asked for. */
export function nameIn(found: string | undefined): string | undefined {
  return found === undefined || found.length < FEWEST_LETTERS || NO_NAMES.has(found) ? undefined : found;
}
