import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nothing } from "lit";
import type { TemplateResult } from "lit";
import { attendedLines, precisionText, proseLine } from "../../../webview/panels/spans.ts";
import { askResult } from "./panelFixtures.ts";

/** The text and the bound values of a template, in order. */
function shown(part: unknown): string {
  if (Array.isArray(part)) return part.map(shown).join("");
  if (typeof part === "function" || part === nothing) return "";
  if (!isTemplate(part)) return String(part);
  return part.strings.map((text, i) => text + (i < part.values.length ? shown(part.values[i]) : "")).join("");
}

function isTemplate(part: unknown): part is TemplateResult {
  return typeof part === "object" && part !== null && "strings" in part && "values" in part;
}

describe("what stands around an answer's quotes", () => {
  it("marks code, and shows repository text as text", () => {
    assert.match(shown(proseLine("`a<b` is set in x.ts, line 5:")), /<code>a<b<\/code> is set in x\.ts, line 5:/);
    assert.equal(proseLine(""), nothing);
  });

  it("links the attended lines under a label that says what they are not, with the measured precision", () => {
    const attended = [{ path: "a.ts", startLine: 3, endLine: 5, share: 0.25, quote: "x\ny\nz" }];
    const opened: unknown[] = [];
    const play = { reveal: (lines: unknown) => void opened.push(lines) };
    const precision = { hits: 41, asked: 50, contextTokens: 8192, command: "npm run -s measure" };
    const text = shown(attendedLines(askResult({ attended, attendedPrecision: precision }), play));
    assert.match(text, /no evidence/);
    assert.match(text, /41 of 50 test answers \(82 %\) stood in such lines, at 8,192 tokens/);
    assert.match(text, /a\.ts:3-5/);
    assert.match(text, /npm run -s measure/);
    assert.match(shown(attendedLines(askResult({ attended }), play)), /precision not measured for this model/);
    assert.equal(attendedLines(askResult(), play), nothing);
    assert.equal(precisionText(undefined), "precision not measured for this model");
  });
});
