import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SaxesParser } from "saxes";
import { type PackPart, packFormats, packPieces, partText, renderPack } from "../../../engine/pack/exportPack.ts";
import { randomText, seeded } from "../../support/random.ts";

const nasty = 'a < b && "c" ]]> d\n````\n```ts\nx\n````\r\n\ttail without a line break';
const parts: PackPart[] = [
  { path: "README.md", level: "full", text: "# Ferry\n" },
  { path: "empty.md", level: "full", text: "" },
  { path: 'src/a"&<b>.ts', level: "full", text: nasty },
  { path: "src/net/outline.ts", level: "outline", lines: [{ number: 3, text: "export function f() {" }] },
  { path: "src/net/name.ts", level: "name" },
  { path: "src/windows.ts", level: "full", text: "one\r\ntwo\r\n" },
  { path: "src/bell\u0007.ts", level: "full", text: "control \u0001 and half a pair \ud83d\n" },
  { path: "src/odd (outline)", level: "full", text: "marks of the tree are no part of names\n" },
];

interface XmlFile {
  path: string;
  level: string;
  text: string;
}

/** Files of an XML pack as a strict parser reads them, and the tree. */
function readXml(xml: string): { tree: string; files: XmlFile[] } {
  const parser = new SaxesParser();
  const files: XmlFile[] = [];
  const open: { name: string; attributes: Record<string, string>; text: string }[] = [];
  let tree = "";
  parser.on("error", (error) => assert.fail(error.message));
  parser.on("opentag", ({ name, attributes }) => void open.push({ name, attributes: attributes, text: "" }));
  const addText = (text: string): void => {
    const last = open.at(-1);
    if (last) last.text += text;
  };
  parser.on("text", addText);
  parser.on("cdata", addText);
  parser.on("closetag", () => {
    const { name, attributes, text } = open.pop() ?? assert.fail();
    if (name === "tree") tree = text;
    if (name !== "file") return;
    const path = attributes.pathEncoding === "json" ? (JSON.parse(attributes.path ?? "") as string) : (attributes.path ?? "");
    const plain = attributes.eol === "crlf" ? text.replaceAll("\n", "\r\n") : text;
    files.push({
      path,
      level: attributes.level ?? "full",
      text: attributes.encoding === "json" ? (JSON.parse(text) as string) : plain,
    });
  });
  parser.write(xml).close();
  return { tree, files };
}

/** Paths and levels that a tree of two blanks a level says. */
function readTree(tree: string): { path: string; level: string }[] {
  const folders: string[] = [];
  return tree.split("\n").flatMap((line) => {
    if (line === "") return [];
    const depth = /^ */.exec(line)?.[0].length ?? 0;
    const [, name = "", mark] = /^(.*?)(?: \((outline|name) ?(?:only)?\))?$/.exec(line.slice(depth)) ?? [];
    const shown = name.startsWith('"') ? (JSON.parse(name) as string) : name;
    folders.length = depth / 2;
    if (name.endsWith("/")) {
      folders.push(shown);
      return [];
    }
    return [{ path: folders.join("") + shown, level: mark ?? "full" }];
  });
}

const named = parts.map(({ path, level }) => ({ path, level }));

describe("exporting a pack", () => {
  it("every format names every file with its level", () => {
    assert.deepEqual(readTree(readXml(renderPack(parts, "xml")).tree), named);
    assert.deepEqual(readTree(/\n(`{3,})\n([\s\S]*?\n)\1\n/.exec(renderPack(parts, "markdown"))?.[2] ?? ""), named);
    const plain = renderPack(parts, "plain");
    assert.deepEqual(readTree(plain.slice(plain.indexOf("README.md"), plain.indexOf("\n=== ") + 1)), named);
    const json = JSON.parse(renderPack(parts, "json")) as { files: { path: string; level: string }[] };
    assert.deepEqual(
      json.files.map(({ path, level }) => ({ path, level })),
      named,
    );
  });

  it("every format holds the lines of an outline with their numbers", () => {
    for (const format of packFormats) {
      const text = renderPack(parts, format);
      assert.match(
        text,
        format === "json" ? /"number":3,"text":"export function f\(\) \{"/ : /3: export function f\(\) \{\n/,
        format,
      );
    }
  });

  it("JSON gives everything back", () => {
    assert.deepEqual(JSON.parse(renderPack(parts, "json")), { files: parts });
  });

  it("XML gives texts and paths back exactly, whatever they hold", () => {
    const full = parts.flatMap((part) => (part.level === "full" ? [part] : []));
    const { files } = readXml(renderPack(parts, "xml"));
    assert.deepEqual(
      files.filter(({ level }) => level === "full"),
      full,
    );
    assert.deepEqual(
      files.filter(({ level }) => level !== "full"),
      [{ path: "src/net/outline.ts", level: "outline", text: "3: export function f() {\n" }],
    );
    const random = seeded(4);
    for (let round = 0; round < 50; round++) {
      const text = randomText(random, 300) + (round % 3 === 0 ? "]]>" : "") + (round % 7 === 0 ? "\ufffe" : "");
      const part: PackPart = { path: `f${round}`, level: "full", text };
      assert.deepEqual(readXml(renderPack([part], "xml")).files, [part]);
    }
  });

  it("a Markdown fence is longer than any inside", () => {
    const markdown = renderPack(parts.slice(2, 3), "markdown");
    assert.match(markdown, /\n`{5}\n/);
    assert.ok(markdown.includes(nasty));
    assert.ok(markdown.endsWith("\n`````\n"));
  });

  it("pieces make the whole, and the parts alone are most of it", () => {
    for (const format of packFormats) {
      assert.equal([...packPieces(parts, format)].join(""), renderPack(parts, format));
      const alone = parts.map((part) => partText(part, format)).join("").length;
      const whole = renderPack(parts, format).length;
      assert.ok(alone <= whole && whole - alone < 250, `${format}: ${alone} of ${whole}`);
    }
  });
});
