import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type PackPart, packFormats, renderPack } from "../../../engine/pack/exportPack.ts";

const nasty = 'a < b && "c" ]]> d\n````\n```ts\nx\n````\r\n\ttail without a line break';
const parts: PackPart[] = [
  { path: 'src/a"&<b>.ts', level: "full", text: nasty },
  { path: "src/outline.ts", level: "outline", lines: [{ number: 3, text: "export function f() {" }] },
  { path: "src/name.ts", level: "name" },
  { path: "empty.md", level: "full", text: "" },
];

describe("exporting a pack", () => {
  it("every format names every file", () => {
    for (const format of packFormats) {
      const text = renderPack(parts.slice(1), format);
      for (const { path } of parts.slice(1)) assert.ok(text.includes(path), `${format} ${path}`);
      assert.match(text, /export function f\(\) \{/);
    }
  });

  it("JSON gives everything back", () => {
    assert.deepEqual(JSON.parse(renderPack(parts, "json")), { files: parts });
  });

  it("XML gives text and paths back, also the end mark of a section", () => {
    const xml = renderPack(parts, "xml");
    const files = [...xml.matchAll(/<file path="([^"]*)"[^>]*?(?:\/>|>((?:<!\[CDATA\[[\s\S]*?\]\]>)*)<\/file>)/g)].map(
      ([, path = "", body = ""]) => ({
        path: path.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&amp;", "&"),
        text: [...body.matchAll(/<!\[CDATA\[([\s\S]*?)\]\]>/g)].map((section) => section[1]).join(""),
      }),
    );
    assert.deepEqual(files, [
      { path: 'src/a"&<b>.ts', text: nasty },
      { path: "src/outline.ts", text: "3: export function f() {\n" },
      { path: "src/name.ts", text: "" },
      { path: "empty.md", text: "" },
    ]);
  });

  it("a Markdown fence is longer than any inside", () => {
    const markdown = renderPack(parts.slice(0, 1), "markdown");
    assert.match(markdown, /\n`{5}ts\n/);
    assert.ok(markdown.includes(nasty));
    assert.ok(markdown.endsWith("\n`````\n"));
  });
});
