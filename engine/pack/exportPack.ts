/** How a pack is written down for other programs. */
export type PackFormat = "xml" | "markdown" | "json" | "plain";

export const packFormats = ["xml", "markdown", "json", "plain"] as const satisfies readonly PackFormat[];

/** A file of a pack: all of its text, an outline (its lines with their numbers), or its name only. */
export type PackPart =
  | { path: string; level: "full"; text: string }
  | { path: string; level: "outline"; lines: readonly { number: number; text: string }[] }
  | { path: string; level: "name" };

/** The whole pack as text. Parts appear in the given order; every format names every part, and loses nothing of a text. */
export function renderPack(parts: readonly PackPart[], format: PackFormat): string {
  return WRITERS[format](parts);
}

const WRITERS: Record<PackFormat, (parts: readonly PackPart[]) => string> = {
  xml: (parts) => `<files>\n${parts.map(xmlPart).join("")}</files>\n`,
  markdown: (parts) => parts.map(markdownPart).join("\n"),
  json: (parts) => `${JSON.stringify({ files: parts.map(jsonPart) }, undefined, 1)}\n`,
  plain: (parts) => parts.map(plainPart).join(""),
};

function xmlPart(part: PackPart): string {
  const path = attribute(part.path);
  switch (part.level) {
    case "full":
      return `<file path="${path}">${cdata(part.text)}</file>\n`;
    case "outline":
      return `<file path="${path}" level="outline">${cdata(numbered(part.lines))}</file>\n`;
    case "name":
      return `<file path="${path}" level="name"/>\n`;
  }
}

function attribute(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll('"', "&quot;")
    .replace(/[\t\n\r]/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** The end mark inside a text is split over two sections. */
function cdata(text: string): string {
  return `<![CDATA[${text.replaceAll("]]>", "]]]]><![CDATA[>")}]]>`;
}

function markdownPart(part: PackPart): string {
  const heading = `## ${part.path.replaceAll("\n", " ")}`;
  if (part.level === "name") return `${heading}\n`;
  const text = part.level === "full" ? part.text : numbered(part.lines);
  const longest = [...text.matchAll(/`{3,}/g)].reduce((length, [run]) => Math.max(length, run.length), 2);
  const fence = "`".repeat(longest + 1);
  const language = part.level === "full" ? (/\.([A-Za-z0-9]+)$/.exec(part.path)?.[1] ?? "") : "";
  return `${heading}\n\n${fence}${language}\n${text}${text === "" || text.endsWith("\n") ? "" : "\n"}${fence}\n`;
}

function jsonPart(part: PackPart): object {
  const { path, level } = part;
  if (part.level === "full") return { path, level, text: part.text };
  return part.level === "outline" ? { path, level, lines: part.lines } : { path, level };
}

function plainPart(part: PackPart): string {
  if (part.level === "name") return `=== ${part.path} === (name only)\n`;
  const text = part.level === "full" ? part.text : numbered(part.lines);
  const mark = part.level === "outline" ? " (outline)" : "";
  return `=== ${part.path} ===${mark}\n${text}${text === "" || text.endsWith("\n") ? "" : "\n"}`;
}

function numbered(lines: readonly { number: number; text: string }[]): string {
  return lines.map(({ number, text }) => `${number}: ${text}\n`).join("");
}
