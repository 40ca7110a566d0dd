import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { nameMarked } from "../../../engine/pack/nameInFiles.ts";
import { readQuestion } from "../../../engine/pack/questionKind.ts";

interface Wordings {
  simple: { kind: string; text: string }[];
  open: { text: string; word: string }[];
}
const { simple, open } = JSON.parse(readFileSync("test/golden/wordings.json", "utf8")) as Wordings;

describe("a plain word that a question is about", () => {
  it("is found in most wordings of strangers, and nearly never for another kind of question", () => {
    const unread: string[] = [];
    const misread: string[] = [];
    for (const { kind, text } of simple) {
      const question = text.replace("{name}", "pierlamp");
      const read = readQuestion(nameMarked(question) ?? question);
      if (read.name !== "pierlamp") unread.push(text);
      // Where it is and in which file are asked in the same words.
      else if (read.kind !== kind && ![kind, read.kind].every((one) => one === "file" || one === "definition"))
        misread.push(text);
    }
    assert.deepEqual(misread, ["calling {name}, so what should I expect as output?"]);
    assert.ok(unread.length <= 4, unread.join("\n"));
  });

  it("is none where the question is about something else, whichever word the files define", () => {
    for (const { text } of open) {
      assert.equal(nameMarked(text), undefined, text);
      assert.equal(readQuestion(text).kind, "unknown", text);
    }
  });

  it("is left alone where the question can be read without, and where two could be meant", () => {
    for (const question of [
      "Where is pier defined?",
      "args that `pier` takes",
      "list the args that pier and lamp take",
      "why?",
      "",
    ])
      assert.equal(nameMarked(question), undefined, question);
    assert.equal(nameMarked("list the args that pier takes, pls"), "list the args that `pier` takes, pls");
    assert.equal(nameMarked("pier: where would pier be, declared I mean"), "`pier`: where would pier be, declared I mean");
  });
});
