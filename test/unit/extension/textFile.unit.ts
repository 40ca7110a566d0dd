import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { decodeTextFile, readTextFile } from "../../../extension/server/textFile.ts";
import { seeded } from "../../support/random.ts";
import { withTempTree } from "../../support/tempTree.ts";

const utf8 = new TextEncoder();

function textOf(bytes: Uint8Array | string, path?: string): { text: string; marks: string[]; suspect: string | undefined } {
  const found = decodeTextFile(typeof bytes === "string" ? utf8.encode(bytes) : bytes, path);
  assert.ok("utf8" in found, "reason" in found ? found.reason : "");
  return {
    text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(found.utf8),
    marks: found.marks.map(({ kind, message }) => `${kind}: ${message}`),
    suspect: found.suspect?.kind,
  };
}

function reasonOf(bytes: Uint8Array): string {
  const found = decodeTextFile(bytes);
  return "reason" in found ? `${found.kind}: ${found.reason}` : "text";
}

const minified = "!function(e,t){var n={};function r(i){if(n[i])return n[i].exports}".repeat(120);

describe("the text of a file", () => {
  it("is its bytes where they are UTF-8, and its hash is that of the bytes on disk", () => {
    assert.deepEqual(textOf("größe = 1;\n"), { text: "größe = 1;\n", marks: [], suspect: undefined });
    assert.deepEqual(textOf(""), { text: "", marks: [], suspect: undefined });
    const found = decodeTextFile(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61, 0x62, 0x63));
    assert.ok("hash" in found);
    // sha256sum of the six bytes.
    assert.equal(found.hash, "1c28dc3f1f804a1ad9c9b4b4cf5e2658d16ad4ed08e3020d04a8d2865018947c");
  });

  it("loses a byte order mark, with a mark", () => {
    const { text, marks } = textOf(Uint8Array.of(0xef, 0xbb, 0xbf, 65));
    assert.equal(text, "A");
    assert.match(marks[0] ?? "", /^bom:/);
  });

  it("is converted from UTF-16 of both orders, also where it is damaged", () => {
    const little = new Uint8Array(Buffer.from("\uFEFFhé𝄞\uFFFD\n", "utf16le"));
    const big = new Uint8Array(Buffer.from("\uFEFFhé𝄞\uFFFD\n", "utf16le").swap16());
    for (const [bytes, order] of [
      [little, "little"],
      [big, "big"],
    ] as const) {
      assert.deepEqual(textOf(bytes), {
        text: "hé𝄞\uFFFD\n",
        marks: [`utf16: UTF-16 (${order} endian), converted to UTF-8`],
        suspect: undefined,
      });
    }
    const { text, marks } = textOf(little.subarray(0, 5));
    assert.equal(text, "h\uFFFD");
    assert.equal(marks[1], "invalid-utf8: 1 byte sequence is not UTF-16 and counts as U+FFFD, first in line 1");
  });

  it("keeps bad UTF-8, and says how much of it and where", () => {
    const bytes = new Uint8Array([...utf8.encode("one\ntwo �\nthree three three three three "), 0xff, 10, 0xc3, 10]);
    const { text, marks } = textOf(bytes);
    assert.equal(text, "one\ntwo �\nthree three three three three \uFFFD\n\uFFFD\n");
    assert.deepEqual(marks, ["invalid-utf8: 2 byte sequences are not UTF-8 and count as U+FFFD, first in line 3"]);
  });

  it("has as many bad sequences as a decoder replaces, whatever the bytes", () => {
    const random = seeded(5);
    const some = [0x41, 0x80, 0xbf, 0xc0, 0xc3, 0xe0, 0xa0, 0xed, 0xf0, 0x90, 0xf4, 0x8f, 0xf5, 0xff];
    for (let round = 0; round < 500; round++) {
      const damage = Array.from({ length: 12 }, () => some[Math.floor(random() * some.length)] ?? 0);
      const bytes = new Uint8Array([...utf8.encode("x".repeat(60)), ...damage]);
      const replaced = new TextDecoder().decode(bytes).split("\uFFFD").length - 1;
      const { marks } = textOf(bytes);
      const counted = Number(/(\d+) byte sequence/.exec(marks[0] ?? "")?.[1] ?? 0);
      assert.equal(counted, replaced, Buffer.from(bytes.subarray(60)).toString("hex"));
    }
  });

  it("is valid UTF-8 or a reason, whatever the bytes and wherever they are cut", () => {
    const random = seeded(6);
    const starts = [
      [],
      [0xef, 0xbb, 0xbf],
      [0xff, 0xfe],
      [0xfe, 0xff],
      [0xff, 0xfe, 0, 0],
      [0, 0, 0xfe, 0xff],
      [0xef, 0xbb],
      [0xff],
    ];
    const pieces = [
      "x",
      "\n",
      "é",
      "日本",
      "\u{1f642}",
      "\ud83d",
      "\uFFFD",
      "\uFEFF",
      "// generated\n",
      "\r",
      "\t",
      "\x00",
      "\x1b[0m",
    ];
    let texts = 0;
    for (let round = 0; round < 2000; round++) {
      const encoding = (["utf8", "utf16le", "latin1"] as const)[Math.floor(random() * 3)] ?? "utf8";
      const text = Array.from({ length: random() * 40 }, () => pieces[Math.floor(random() ** 1.4 * pieces.length)] ?? "").join(
        "",
      );
      const bytes = [...(starts[Math.floor(random() * starts.length)] ?? []), ...Buffer.from(text, encoding)];
      for (let damage = Math.floor(random() * 3); damage > 0; damage--)
        bytes[Math.floor(random() * bytes.length)] = random() * 256;
      const found = decodeTextFile(Uint8Array.from(bytes), random() < 0.5 ? "a.ts" : "a.md");
      if ("reason" in found) {
        assert.equal(found.kind, "binary");
        assert.notEqual(found.reason, "");
        continue;
      }
      texts++;
      assert.doesNotThrow(() => new TextDecoder("utf-8", { fatal: true }).decode(found.utf8), Buffer.from(bytes).toString("hex"));
      assert.match(found.hash, /^[0-9a-f]{64}$/);
    }
    assert.ok(texts > 300, `${texts} texts`);
  });

  it("is none where a NUL, many control characters or no encoding we know stand, with the reason", () => {
    const lateNul = new Uint8Array(5000).fill(65);
    lateNul[4000] = 0;
    assert.equal(reasonOf(lateNul), "binary: binary content (a NUL at byte 4000)");
    assert.equal(
      reasonOf(Uint8Array.from({ length: 100 }, (_, at) => 1 + (at % 8))),
      "binary: binary content (control characters)",
    );
    assert.match(reasonOf(Uint8Array.from({ length: 300 }, (_, at) => 128 + (at % 100))), /neither UTF-8 nor UTF-16/);
    assert.equal(reasonOf(utf8.encode("%PDF-1.7\nobj\n")), "binary: binary content (PDF)");
    assert.equal(
      reasonOf(new Uint8Array(Buffer.from("plain latin text", "utf16le"))),
      "binary: UTF-16 without a byte order mark",
    );
    assert.equal(reasonOf(Uint8Array.of(0xff, 0xfe, 0, 0, 65, 0, 0, 0)), "binary: UTF-32 text; only UTF-8 and UTF-16 are read");
    const latin = utf8.encode("let name = 'café';\n".repeat(9)).filter((byte) => byte !== 0xc3);
    assert.equal(reasonOf(latin), "text");
  });

  it("has a mark for a long line, by characters and with its number", () => {
    assert.deepEqual(textOf("x".repeat(10_000)).marks, []);
    assert.deepEqual(textOf(`a\nb\n${"x".repeat(10_001)}\nc\n`).marks, ["long-line: line 3 has 10,001 characters"]);
    assert.deepEqual(textOf("é".repeat(10_000)).marks, []);
    assert.deepEqual(textOf("東".repeat(10_001)).marks, ["long-line: line 1 has 10,001 characters"]);
  });
});

describe("a text that a program wrote", () => {
  it("is minified code by its lines, not prose, data, or a source with one long line", () => {
    assert.equal(textOf(minified, "a.js").suspect, "minified");
    assert.equal(textOf(`/*! licence */\n${minified.slice(0, 3000)}\n`, "a.js").suspect, "minified");
    assert.equal(textOf(minified).suspect, "minified");
    assert.equal(textOf(`${"word and, word. ".repeat(800)}\n`, "a.js").suspect, undefined);
    assert.equal(textOf(`${"1.25,".repeat(3000)}\n`).suspect, undefined);
    assert.equal(textOf(JSON.stringify(Array.from({ length: 900 }, (_, at) => ({ id: at, call: "f(x);" })))).suspect, undefined);
    assert.equal(textOf(minified, "bundle.js.map").suspect, undefined);
    assert.equal(textOf(minified, "notes.md").suspect, undefined);
    const source = "export function area(side: number): number {\n  return side * side;\n}\n".repeat(400);
    assert.deepEqual(textOf(`${source}const wasm = "${"QUJD".repeat(3000)}";\n`, "a.ts").suspect, undefined);
    assert.equal(textOf("(){};=".repeat(60), "short.js").suspect, undefined);
  });

  it("is generated by what the comments at its head say", () => {
    for (const head of [
      "// Code generated by protoc-gen-go. DO NOT EDIT.\npackage a\n",
      "/**\n * Autogenerated by Thrift Compiler\n *\n * DO NOT EDIT UNLESS YOU ARE SURE\n */\nclass A {}\n",
      "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# Generated by the protocol buffer compiler.  DO NOT EDIT!\n",
      "/*\n * @generated SignedSource<<0>>\n */\n",
      "// <auto-generated>\n//     This code was generated by a tool.\n// </auto-generated>\n",
      "# This file is automatically @generated by Cargo.\n# It is not intended for manual editing.\n",
      "# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n",
      "<!-- This file was generated by typedoc -->\n# API\n",
    ]) {
      assert.equal(textOf(head, head.startsWith("<!--") ? "api.md" : "a").suspect, "generated", head);
    }
  });

  it("is not generated because it speaks of generating", () => {
    for (const [text, path] of [
      ["# Auto-generated files\n\nDo not edit generated files.\n", "README.md"],
      ['const header = "// Code generated by x. DO NOT EDIT.";\n', "gen.go"],
      ["// Skips files with `@generated` in their head.\n", "a.ts"],
      ["// Numbers are generated by a linear congruence.\n", "random.ts"],
      ["/* plain */\nlet a = 1; // this file is fine\n", "a.ts"],
      [`${"// a\n".repeat(60)}// Code generated by x. DO NOT EDIT.\n`, "late.go"],
    ] as const) {
      assert.equal(textOf(text, path).suspect, undefined, text);
    }
  });
});

describe("reading a file", () => {
  it("refuses what is no longer the file that was found, with a reason", async () => {
    await withTempTree({ "a.ts": "let a;\n", "empty.ts": "" }, async (folder) => {
      await symlink(join(folder, "a.ts"), join(folder, "link.ts"));
      const read = async (name: string, maxFileBytes?: number): Promise<string> => {
        const found = await readTextFile(join(folder, name), { maxFileBytes });
        return "reason" in found ? `${found.kind}: ${found.reason}` : new TextDecoder().decode(found.utf8);
      };
      assert.equal(await read("a.ts"), "let a;\n");
      assert.equal(await read("empty.ts"), "");
      assert.equal(await read("a.ts", 3), "too-large: has become too large");
      assert.equal(await read("gone.ts"), "unreadable: cannot be read (ENOENT)");
      if (process.platform === "win32") return;
      assert.equal(await read("link.ts"), "unreadable: cannot be read (ELOOP)");
      execFileSync("mkfifo", [join(folder, "pipe")]);
      assert.equal(await read("pipe"), "unreadable: not a regular file");
      await writeFile(join(folder, "min.js"), minified);
      const found = await readTextFile(join(folder, "min.js"));
      assert.ok("utf8" in found && found.suspect?.reason.includes("choose the level full"));
    });
  });
});
