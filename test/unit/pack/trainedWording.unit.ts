import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { meaningWords, nameMarked } from "../../../engine/pack/nameInFiles.ts";
import { readQuestion } from "../../../engine/pack/questionKind.ts";
import { trainedWording } from "../../../engine/pack/trainedWording.ts";

describe("a question to an extractive model", () => {
  const asked: readonly [string, readonly string[]][] = [
    ["Where is `pier` defined?", ["where's pier defined", "Show me the definition of `pier`", "Which file defines pier()?"]],
    ["What are the parameters of `pier`?", ["What is the signature of pier?", "Which arguments can I pass to `pier`?"]],
    ["What does `pier` return?", ["What is the return value of pier?", "what is returned by `pier`"]],
    ["Where is `pier` imported?", ["Which file imports pier?", "Show me the import of `pier`"]],
    ["Where is `pier` called?", ["Who calls pier?", "Which line calls `pier`?"]],
    ["How is `pier` documented?", ["What does the comment above pier say?", "Show me the docstring of `pier`"]],
  ];
  for (const [wording, questions] of asked) {
    it(`is asked in trained words: ${wording}`, () => {
      assert.equal(trainedWording(wording), wording);
      for (const question of questions) assert.equal(trainedWording(question), wording, question);
    });
  }

  it("keeps its words where its kind or its name is not recognised, and where the words say which value is meant", () => {
    for (const question of [
      "Why do we retry?",
      "Where do we retry?",
      "What is MAX_PIERS set to in the configuration?",
      "What is the special magic number for pier-lamp?",
      "Find all variables that are assigned the value 12345.",
      "",
    ])
      assert.equal(trainedWording(question), question);
  });

  it("takes a name with signs of replacement as it is", () => {
    assert.equal(trainedWording("Where is `$&` defined?"), "Where is `$&` defined?");
  });

  it("has a kind that the evaluation of the specimens knows, for every wording of its questions that is recognised", () => {
    // Every word that the reader knows stands in its own sources.
    const sources = ["nameInFiles", "questionKind", "questionWords"].map((name) =>
      readFileSync(`engine/pack/${name}.ts`, "utf8"),
    );
    const wordings = readFileSync("engine/specimens/questions.py", "utf8").matchAll(/"([^"\n]*\{name\}[^"\n]*)"/g);
    // With any name, with one that is marked or looks like code, or with a plain word that the files define.
    const any: Record<string, string> = {};
    const unmistakable: Record<string, string> = {};
    const inFiles: Record<string, string> = {};
    for (const [, wording = ""] of [...wordings].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const bare = readQuestion(wording.replace("{name}", "pierlamp"));
      const marked = readQuestion(wording.replace("{name}", "`pierlamp`"));
      if (bare.name === "pierlamp") any[wording] = bare.kind;
      else if (marked.name === "pierlamp") unmistakable[wording] = marked.kind;
      const told = nameMarked(wording.replace("{name}", "pierlamp"));
      if (told !== undefined) inFiles[wording] = readQuestion(told).kind;
    }
    const lowerWords = JSON.stringify(sources).match(/[a-z]+/g) ?? [];
    const notNames = [...new Set(lowerWords)].filter((word) => meaningWords(word).length === 0).sort();
    const text = `${JSON.stringify({ any, unmistakable, inFiles, notNames }, undefined, 1)}\n`;
    const path = "engine/specimens/recognised.json";
    if (process.env["UPDATE_RECOGNISED"] === "1") writeFileSync(path, text);
    assert.equal(readFileSync(path, "utf8"), text, `renew it with UPDATE_RECOGNISED=1 npm test`);
  });
});
