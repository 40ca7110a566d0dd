import { invalidTokenizer, unsupportedTokenizer } from "./fields.ts";

/**
 * An Oniguruma pattern as tokenizer.json holds it, as a JavaScript one with the flags `gu`. Where the two engines
 * disagree the JavaScript side is rewritten: \s is Unicode White_Space, \d and \w are Unicode, `.` stops at \n only,
 * ^ and $ are line anchors, needless escapes are dropped, (?i:...) is spelt out for ASCII letters and what folds to them. What has no
 * equivalent (possessive and atomic groups, class intersection, POSIX classes) throws `unsupported-tokenizer`.
 */
export function convertRegex(pattern: string): RegExp {
  const source = new Converter(pattern).convert();
  try {
    return new RegExp(source, "gu");
  } catch (error) {
    throw invalidTokenizer(`pattern ${pattern} does not compile: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** A pattern that matches one text literally. */
export function literalRegex(text: string): RegExp {
  return new RegExp(escapeRegex(text), "gu");
}

export function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

/** Escapes that mean the same in both engines and are kept as written. */
const SHARED_ESCAPES = new Set(["n", "r", "t", "f", "v", "0"]);
const SYNTAX = new Set("^$\\.*+?()[]{}|/");
const CLASS_ESCAPES: Readonly<Record<string, string>> = { s: "\\p{White_Space}", d: "\\p{Nd}", w: "\\p{L}\\p{M}\\p{Nd}\\p{Pc}" };
const NEGATED_ESCAPES: Readonly<Record<string, string>> = { S: "\\P{White_Space}", D: "\\P{Nd}" };

class Converter {
  private at = 0;
  /** One entry per open group: whether letters in it match both cases. */
  private readonly foldCase: boolean[] = [false];

  constructor(private readonly pattern: string) {}

  convert(): string {
    let out = "";
    while (this.at < this.pattern.length) out += this.next();
    return out;
  }

  private next(): string {
    const char = this.take();
    switch (char) {
      case "\\":
        return this.escape(false);
      case "[":
        return this.charClass();
      case "(":
        return this.openGroup();
      case ")":
        if (this.foldCase.length > 1) this.foldCase.pop();
        return ")";
      case ".":
        return "[^\\n]";
      case "^":
        return "(?<![^\\n])";
      case "$":
        return "(?![^\\n])";
      case "*":
      case "+":
      case "?":
        return this.quantifier(char);
      case "{": {
        const repeat = /^\d*(,\d*)?\}/.exec(this.pattern.slice(this.at))?.[0];
        if (repeat === undefined || repeat === "}" || repeat === ",}") return "\\{";
        this.at += repeat.length;
        return this.quantifier("{" + (repeat.startsWith(",") ? "0" : "") + repeat);
      }
      case "}":
      case "]":
        return "\\" + char;
      case "/":
        return "\\/";
      default:
        return this.folded(char);
    }
  }

  /** A quantifier may be followed by ? (lazy); by + it is possessive in one engine and repeated in another. */
  private quantifier(text: string): string {
    if (this.peek() === "+") throw this.unsupported("a possessive quantifier");
    return text;
  }

  private openGroup(): string {
    const rest = this.pattern.slice(this.at);
    const fold = this.foldCase[this.foldCase.length - 1] ?? false;
    const flags = /^\?([a-z]*)(?:-([a-z]*))?([:)])/.exec(rest);
    if (flags && !rest.startsWith("?:")) {
      const on = flags[1] ?? "";
      const off = flags[2] ?? "";
      if (/[^i]/.test(on + off)) throw this.unsupported(`the group flag (?${on}${off ? "-" + off : ""})`);
      const folded = on.includes("i") || (fold && !off.includes("i"));
      this.at += flags[0].length;
      if (flags[3] === ":") {
        this.foldCase.push(folded);
        return "(?:";
      }
      this.foldCase[this.foldCase.length - 1] = folded;
      return "";
    }
    const opening = /^\?(:|=|!|<=|<!|<[A-Za-z_]\w*>)/.exec(rest);
    if (rest.startsWith("?") && !opening)
      throw this.unsupported(rest.startsWith("?>") ? "an atomic group" : `the group (${rest.slice(0, 3)}`);
    this.foldCase.push(fold);
    this.at += opening ? opening[0].length : 0;
    return "(" + (opening ? opening[0] : "");
  }

  /** One escape, outside a class or as a member of one. */
  private escape(inClass: boolean): string {
    const char = this.take();
    const members = CLASS_ESCAPES[char];
    if (members !== undefined) return inClass || char !== "w" ? members : `[${members}]`;
    const negated = NEGATED_ESCAPES[char];
    if (negated !== undefined) return negated;
    if (char === "W" && !inClass) return `[^${CLASS_ESCAPES.w ?? ""}]`;
    if (char === "p" || char === "P") return this.property(char);
    if (SHARED_ESCAPES.has(char)) return "\\" + char;
    const code =
      char === "x" || char === "u"
        ? /^(?:[xu]\{([0-9a-fA-F]+)\}|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))/.exec(this.pattern.slice(this.at - 1))
        : null;
    if (code) {
      this.at += code[0].length - 1;
      return `\\u{${code[1] ?? code[2] ?? code[3] ?? ""}}`;
    }
    if (/[A-Za-z0-9]/.test(char) || char === "") throw this.unsupported(`the escape \\${char}`);
    return SYNTAX.has(char) || (inClass && char === "-") ? "\\" + char : char;
  }

  private property(letter: "p" | "P"): string {
    const written = /^\{(\^?)([^}]+)\}/.exec(this.pattern.slice(this.at));
    if (!written) throw this.unsupported(`the property \\${letter} without a name`);
    this.at += written[0].length;
    const negative = (letter === "P") !== (written[1] === "^");
    const name = written[2] ?? "";
    for (const spelling of [name, `Script=${name}`]) {
      const escape = `\\${negative ? "P" : "p"}{${spelling}}`;
      if (compiles(escape)) return escape;
    }
    throw this.unsupported(`the property \\p{${name}}`);
  }

  private charClass(): string {
    const negated = this.peek() === "^";
    if (negated) this.at++;
    return (negated ? "[^" : "[") + this.classMembers() + "]";
  }

  /** Members up to the closing bracket; a nested class that is not negated is a union, so its members join. */
  private classMembers(): string {
    let out = "";
    for (let first = true; ; first = false) {
      const char = this.take();
      if (char === "") throw invalidTokenizer(`pattern ${this.pattern} has an unclosed class`);
      if (char === "]" && !first) return out;
      if (char === "&" && this.peek() === "&") throw this.unsupported("a class intersection");
      if (char === "[") {
        if (this.peek() === ":" || this.peek() === "^") throw this.unsupported("a POSIX or negated class inside a class");
        out += this.classMembers();
      } else if (char === "\\") {
        out += this.escape(true);
      } else {
        out += this.foldedMember(char);
      }
    }
  }

  private foldedMember(char: string): string {
    const fold = this.foldCase[this.foldCase.length - 1] ?? false;
    const range = /^-([^\]\\[])/.exec(this.pattern.slice(this.at))?.[1];
    const member = range === undefined ? escapeMember(char) : `${escapeMember(char)}-${escapeMember(range)}`;
    if (range !== undefined) this.at += 1 + range.length;
    const letters = range === undefined ? /^[A-Za-z]$/.test(char) : /^([a-z][a-z]|[A-Z][A-Z])$/.test(char + range);
    if (!fold || !letters) {
      if (fold && range !== undefined && /[A-Za-z]/.test(char + range)) throw this.unsupported("a mixed range under (?i:)");
      return member;
    }
    return member + (range === undefined ? otherCases(char) : swapCase(`${char}-${range}`) + foldedBeyond(char, range));
  }

  private folded(char: string): string {
    const fold = this.foldCase[this.foldCase.length - 1] ?? false;
    return fold && /^[A-Za-z]$/.test(char) ? `[${char}${otherCases(char)}]` : char;
  }

  private peek(): string {
    return this.pattern.charAt(this.at);
  }

  /** One code point. */
  private take(): string {
    const code = this.pattern.codePointAt(this.at);
    const char = code === undefined ? "" : String.fromCodePoint(code);
    this.at += char.length;
    return char;
  }

  private unsupported(what: string) {
    return unsupportedTokenizer(`${what} in the pre-tokenizer pattern ${this.pattern}`);
  }
}

function escapeMember(char: string): string {
  return char === "[" || char === "]" || char === "^" || char === "\\" ? "\\" + char : char;
}

function otherCases(letter: string): string {
  return swapCase(letter) + foldedBeyond(letter, letter);
}

/** Characters beyond ASCII that are letters of a range in another case: the long s and the Kelvin sign. */
function foldedBeyond(first: string, last: string): string {
  const holds = (letter: string) => first.toLowerCase() <= letter && letter <= last.toLowerCase();
  return (holds("s") ? "\u017f" : "") + (holds("k") ? "\u212a" : "");
}

function swapCase(text: string): string {
  return text.replace(/[A-Za-z]/g, (letter) => (letter < "a" ? letter.toLowerCase() : letter.toUpperCase()));
}

function compiles(source: string): boolean {
  try {
    return new RegExp(source, "u").source !== "";
  } catch {
    return false;
  }
}
