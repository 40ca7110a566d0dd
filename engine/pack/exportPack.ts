/** How a pack is written down for other programs. */
export type PackFormat = "xml" | "markdown" | "json" | "plain";

export const packFormats = ["xml", "markdown", "json", "plain"] as const satisfies readonly PackFormat[];

/** A file of a pack: all of its text, an outline (its lines with their numbers), or its name only. */
export type PackPart =
  | { path: string; level: "full"; text: string }
  | { path: string; level: "outline"; lines: readonly NumberedLine[] }
  | { path: string; level: "name" };

export interface NumberedLine {
  /** 1-based. */
  number: number;
  text: string;
}

/** The whole pack as text; see `packPieces`. */
export function renderPack(parts: readonly PackPart[], format: PackFormat): string {
  return [...packPieces(parts, format)].join("");
}

/**
 * The pack piece by piece: a head with the tree of all files, then each file that is more than its name, in the given order. Every
 * format names every file with its level, and XML and JSON lose nothing of a text or a path (JSON has no tree: its list of files is one).
 *
 * XML is 1.0 without entities of its own. Texts stand in CDATA sections; their end mark is split over two. As a parser reads CR LF as LF,
 * such a file has the attribute eol="crlf"; a text with characters that XML cannot hold, or with mixed line ends, is a JSON string and
 * says so with encoding="json". A Markdown fence is longer than any run of backticks inside. Lines of outlines are "12: text".
 */
export function* packPieces(parts: readonly PackPart[], format: PackFormat): Generator<string> {
  const writer = WRITERS[format];
  yield writer.head(parts);
  let first = true;
  for (const part of parts) {
    const entry = writer.entry(part, first);
    if (entry === "") continue;
    yield entry;
    first = false;
  }
  yield writer.tail;
}

/** What one file adds to a pack, folders of the tree aside: for estimates of what it costs. */
export function partText(part: PackPart, format: PackFormat): string {
  const writer = WRITERS[format];
  return (writer.tree ? treeLine(part) : "") + writer.entry(part, false);
}

interface Writer {
  head(parts: readonly PackPart[]): string;
  /** One file; empty where the head says it all. */
  entry(part: PackPart, first: boolean): string;
  tail: string;
  /** Whether the head has a tree. */
  tree: boolean;
}

const WRITERS: Record<PackFormat, Writer> = {
  xml: {
    head: (parts) => `<pack>\n${about(parts)}<tree>\n${xmlText(treeOf(parts))}</tree>\n`,
    entry: (part) => (part.level === "name" ? "" : xmlFile(part)),
    tail: "</pack>\n",
    tree: true,
  },
  markdown: {
    head: (parts) => `# Files\n\n${about(parts)}${fenced(treeOf(parts), "")}`,
    entry: (part) => (part.level === "name" ? "" : markdownFile(part)),
    tail: "",
    tree: true,
  },
  json: {
    head: () => '{"files": [',
    entry: (part, first) => `${first ? "" : ","}\n${JSON.stringify(jsonFile(part))}`,
    tail: "\n]}\n",
    tree: false,
  },
  plain: {
    head: (parts) => `${about(parts)}${treeOf(parts)}`,
    entry: (part) =>
      part.level === "name" ? "" : `\n=== ${printable(part.path)} ===${MARKS[part.level]}\n${endedLine(shownText(part))}`,
    tail: "",
    tree: true,
  },
};

const MARKS: Record<PackPart["level"], string> = { full: "", outline: " (outline)", name: " (name only)" };

/** Says what the marks of the tree mean, where there are any. */
function about(parts: readonly PackPart[]): string {
  const has = (level: PackPart["level"]): boolean => parts.some((part) => part.level === level);
  const sentences = [
    ...(has("outline") ? ["An outline has some lines of its file, with their numbers."] : []),
    ...(has("name") ? ["Of a file marked name only, nothing else is given."] : []),
  ];
  return sentences.length === 0 ? "" : `${sentences.join(" ")}\n\n`;
}

/** Two blanks a level; folders end in "/", and only what changed since the line before is written. */
function treeOf(parts: readonly PackPart[]): string {
  const lines: string[] = [];
  let open: readonly string[] = [];
  for (const part of parts) {
    const folders = part.path.split("/").slice(0, -1);
    let shared = 0;
    while (shared < folders.length && folders[shared] === open[shared]) shared++;
    for (let depth = shared; depth < folders.length; depth++)
      lines.push(`${"  ".repeat(depth)}${printable(folders[depth] ?? "")}/\n`);
    lines.push(treeLine(part));
    open = folders;
  }
  return lines.join("");
}

function treeLine({ path, level }: PackPart): string {
  const names = path.split("/");
  return `${"  ".repeat(names.length - 1)}${printable(names.at(-1) ?? "")}${MARKS[level]}\n`;
}

/** A name as it is, or as a JSON string where it has characters that cannot be seen or could be read as something else. */
function printable(name: string): string {
  return /[\p{C}\p{Zl}\p{Zp}]|^[\s"]|\s$| \((outline|name only)\)$/u.test(name) ? jsonString(name) : name;
}

/** A JSON string without any character that XML cannot hold or a terminal obeys. */
function jsonString(text: string): string {
  return JSON.stringify(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => character.split("").map(escaped).join(""));
}

/** A UTF-16 unit as JSON writes it. */
function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function xmlFile(part: PackPart & { level: "full" | "outline" }): string {
  const path = UNWRITABLE.test(part.path)
    ? `path="${xmlAttribute(jsonString(part.path))}" pathEncoding="json"`
    : `path="${xmlAttribute(part.path)}"`;
  const { attribute, body } = xmlBody(shownText(part));
  return `<file ${path}${part.level === "outline" ? ' level="outline"' : ""}${attribute}>${body}</file>\n`;
}

function xmlBody(text: string): { attribute: string; body: string } {
  const writable = !UNWRITABLE.test(text);
  if (writable && !text.includes("\r")) return { attribute: "", body: cdata(text) };
  if (writable && !/\r(?!\n)|(?<!\r)\n/.test(text))
    return { attribute: ' eol="crlf"', body: cdata(text.replaceAll("\r\n", "\n")) };
  return { attribute: ' encoding="json"', body: cdata(jsonString(text)) };
}

/** Not a Char of XML 1.0: control characters, halves of pairs, two that are none. */
const UNWRITABLE = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u;

/** The end mark inside a text is split over two sections. */
function cdata(text: string): string {
  return `<![CDATA[${text.replaceAll("]]>", "]]]]><![CDATA[>")}]]>`;
}

function xmlText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function xmlAttribute(text: string): string {
  return xmlText(text)
    .replaceAll('"', "&quot;")
    .replace(/[\t\n\r]/g, (blank) => `&#${blank.charCodeAt(0)};`);
}

function markdownFile(part: PackPart & { level: "full" | "outline" }): string {
  const language = part.level === "full" ? (/\.([A-Za-z0-9]+)$/.exec(part.path)?.[1] ?? "") : "";
  return `\n## ${codeSpan(printable(part.path))}${MARKS[part.level]}\n\n${fenced(shownText(part), language)}`;
}

/** A path is no Markdown: its underscores and brackets mean nothing. */
function codeSpan(text: string): string {
  const ticks = "`".repeat(longestRun(text) + 1);
  return text.includes("`") ? `${ticks} ${text} ${ticks}` : `\`${text}\``;
}

function fenced(text: string, language: string): string {
  const fence = "`".repeat(Math.max(3, longestRun(text) + 1));
  return `${fence}${language}\n${endedLine(text)}${fence}\n`;
}

function longestRun(text: string): number {
  let longest = 0;
  for (const [run] of text.matchAll(/`+/g)) longest = Math.max(longest, run.length);
  return longest;
}

function endedLine(text: string): string {
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}

function jsonFile(part: PackPart): object {
  const { path, level } = part;
  if (part.level === "full") return { path, level, text: part.text };
  return part.level === "outline" ? { path, level, lines: part.lines } : { path, level };
}

function shownText(part: PackPart & { level: "full" | "outline" }): string {
  if (part.level === "full") return part.text;
  return part.lines.map(({ number, text }) => `${number}: ${text}\n`).join("");
}
