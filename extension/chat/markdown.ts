/**
 * What a model wrote, as Markdown that VS Code may render: code, lists and emphasis stay, but nothing in it becomes a link, an image or HTML,
 * because repository text can tell a model what to write. No `vscode`.
 */

/** A text as Markdown that shows just this text, in one line and behind something else on it: marks of blocks are not escaped. */
export function literal(text: string): string {
  return text.replaceAll(/\s*[\r\n]\s*/g, " ").replaceAll(LITERAL, (mark) => ESCAPED[mark] ?? `\\${mark}`);
}

/** A text as inline code, whatever backticks it has. */
export function inlineCode(text: string): string {
  const line = text.replaceAll(/\s*[\r\n]\s*/g, " ");
  const fence = "`".repeat(longestRun(line) + 1);
  const pad = line.startsWith("`") || line.endsWith("`") || line.trim() === "" ? " " : "";
  return `${fence}${pad}${line}${pad}${fence}`;
}

/** Lines as a block of code. */
export function codeBlock(text: string, language = ""): string {
  const fence = "`".repeat(Math.max(3, longestRun(text) + 1));
  return `${fence}${language.replaceAll(/[^\w+#-]/g, "")}\n${text.replaceAll(/\r\n?/g, "\n").replace(/\n$/, "")}\n${fence}\n`;
}

/** The language of a code block by the file's name. */
export function languageOf(path: string): string {
  const ending = /\.(\w+)$/.exec(path)?.[1]?.toLowerCase() ?? "";
  return ending.length <= 8 ? ending : "";
}

/**
 * Makes streamed Markdown safe: a fence always stands at the beginning of its line, where no list or quotation can end it unseen, and whatever is not
 * surely code has its brackets, angles and addresses escaped. Inline code ends in the line it began in.
 */
export class SafeMarkdown {
  /** What is held back of the line that is not finished. */
  private held = "";
  /** Some of that line was given out, so that it is no fence. */
  private begun = false;
  /** Of the block that is open. */
  private fence: string | undefined;

  /** What can be shown by now of all that was pushed. */
  push(text: string): string {
    const lines = (this.held + text.replaceAll(/\r\n?/g, "\n")).split("\n");
    this.held = lines.pop() ?? "";
    const whole = lines.map((line) => `${this.finish(line)}\n`).join("");
    return whole + this.beginning();
  }

  /** The rest. */
  end(): string {
    const rest = this.held === "" ? "" : this.finish(this.held);
    this.held = "";
    if (this.fence === undefined) return rest;
    const closing = `${rest === "" ? "" : "\n"}${this.fence}\n`;
    this.fence = undefined;
    return rest + closing;
  }

  /** As much of the unfinished line as nothing behind it can change. */
  private beginning(): string {
    if (this.fence !== undefined || (!this.begun && /^\s*([`~]|$)/.test(this.held))) return "";
    const ready = settledLength(this.held);
    const given = escapeOutsideCode(this.held.slice(0, ready));
    this.held = this.held.slice(ready);
    if (ready > 0) this.begun = true;
    return given;
  }

  private finish(line: string): string {
    const { begun } = this;
    this.begun = false;
    if (this.fence !== undefined) return this.inFence(line, this.fence);
    const opened = begun ? null : /^\s*(`{3,}|~{3,})([^`]*)$/.exec(line);
    if (!opened) return escapeOutsideCode(line);
    const [, marks = "", info = ""] = opened;
    this.fence = marks;
    return marks + info.replaceAll(/[^\w+#. -]/g, "").trimEnd();
  }

  /** A closing fence stands at the beginning of its line too; what only looks like one stays code. */
  private inFence(line: string, fence: string): string {
    const closes = new RegExp(`^\\s*${fence[0]}{${fence.length},}\\s*$`).test(line);
    if (!closes) return line;
    this.fence = undefined;
    return fence;
  }
}

/** Of one line that is no block of code, or of a part of it that begins and ends outside code. */
function escapeOutsideCode(line: string): string {
  let safe = "";
  for (const { text, kind } of piecesOf(line)) {
    if (kind === "code") safe += text;
    else if (kind === "marks") safe += text.replaceAll("`", "\\`");
    else if (kind === "escape") safe += text.length === 2 ? text : "\\\\";
    else safe += text.replaceAll(SPECIAL, (mark) => ESCAPED[mark] ?? `\\${mark}`);
  }
  return safe;
}

/** What could begin a link, an image, HTML or an address; a run of tildes could hide where code begins. */
const SPECIAL = /[[\]<&@]|:(?=\/\/)|(?<=www)\.|~/gi;
const LITERAL = /[[\]<&@\\`*_|~]|:(?=\/\/)|(?<=www)\./gi;
const ESCAPED: Readonly<Record<string, string>> = { "<": "&lt;", "&": "&amp;" };

interface Piece {
  text: string;
  kind: "text" | "code" | "marks" | "escape";
}

/** A line cut into inline code, backticks that begin none, backslashes with what they escape, and the text between. */
function* piecesOf(line: string): Generator<Piece> {
  for (let at = 0; at < line.length;) {
    const rest = line.slice(at);
    let piece: Piece;
    if (rest.startsWith("\\")) {
      // In front of anything but punctuation it is a backslash itself.
      piece = { text: /^\\[!-/:-@[-`{-~]/.exec(rest)?.[0] ?? "\\", kind: "escape" };
    } else if (rest.startsWith("`")) {
      const marks = /^`+/.exec(rest)?.[0] ?? "`";
      const span = spanOf(rest, marks);
      piece = span === undefined ? { text: marks, kind: "marks" } : { text: span, kind: "code" };
    } else piece = { text: /^[^\\`]+/.exec(rest)?.[0] ?? rest, kind: "text" };
    yield piece;
    at += piece.text.length;
  }
}

/** How much of an unfinished line stays what it is, whatever follows. */
function settledLength(line: string): number {
  let settled = 0;
  let at = 0;
  for (const { text, kind } of piecesOf(line)) {
    at += text.length;
    // Its end may still come; and a run of backticks, like a backslash, may go on.
    if (kind === "marks" || (at === line.length && kind !== "text")) return settled;
    settled = kind === "text" && at === line.length ? at - (/(:\/?|w{1,3})$/i.exec(text)?.[0].length ?? 0) : at;
  }
  return settled;
}

/** The inline code that `rest` begins with; undefined where it has no end in this line, or reaches across cells of a table, and is text after all. */
function spanOf(rest: string, marks: string): string | undefined {
  for (const { 0: run, index } of rest.slice(marks.length).matchAll(/`+/g)) {
    if (run.length !== marks.length) continue;
    const span = rest.slice(0, marks.length + index + run.length);
    return span.includes("|") && /[[<@:]/.test(span) ? undefined : span;
  }
  return undefined;
}

function longestRun(text: string): number {
  return Math.max(0, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
}
