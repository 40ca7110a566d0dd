/** Earlier turns of a chat within a budget, and what could be asked next. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { followups } from "../../../extension/chat/followups.ts";
import { type AnswerMemory, historyWithin, memoryOf } from "../../../extension/chat/history.ts";

const turn = (question: string, answer = "a") => ({ question, answer });
const words = async (text: string): Promise<number> => text.split(/\s+/).filter((word) => word !== "").length;
const remembered: AnswerMemory = {
  ...{ question: "Where is `go` defined?", answer: "function go() {", absent: false },
  ...{ path: "a.ts", quote: "function go() {", leftOut: 0 },
};

describe("the history of a chat", () => {
  it("is its newest turns that fit, without gaps, oldest first", async () => {
    const turns = [turn("one"), turn("two long long long long"), turn("three"), turn("four")];
    assert.deepEqual(await historyWithin(turns, 100, words), { turns, dropped: 0 });
    assert.deepEqual(await historyWithin(turns, 6, words), { turns: turns.slice(2), dropped: 2 });
    assert.deepEqual(await historyWithin(turns, 1, words), { turns: [], dropped: 4 });
  });

  it("counts no turn that is older than one that does not fit", async () => {
    let counted = 0;
    const count = async (text: string): Promise<number> => {
      counted++;
      return words(text);
    };
    await historyWithin([turn("a"), turn("b"), turn("c"), turn("d")], 3, count);
    assert.equal(counted, 2);
  });

  it("has only answers of this participant", () => {
    assert.deepEqual(memoryOf(JSON.parse(JSON.stringify(remembered))), remembered);
    for (const other of [undefined, null, "text", {}, { planned: "x" }, { question: "q" }, { question: 1, answer: "a" }])
      assert.equal(memoryOf(other), undefined);
  });
});

describe("what could be asked next", () => {
  it("is what is answered with quotes about the same name, and never what was just asked", () => {
    assert.deepEqual(
      followups(remembered).map(({ prompt }) => prompt),
      ["What does `go` return?", "Which file imports `go`?", "What does the comment above `go` say?"],
    );
    const asked = followups({ ...remembered, question: "What does go() return?" });
    assert.ok(asked.every(({ prompt }) => !/return/.test(prompt)));
    const value = followups({ ...remembered, quote: "const go = 3;" });
    assert.equal(value[0]?.prompt, "What is the value of `go`?");
  });

  it("begins with what was read where nothing was found or something did not fit", () => {
    for (const change of [{ absent: true, path: undefined, quote: undefined }, { leftOut: 2 }]) {
      const [first] = followups({ ...remembered, ...change });
      assert.deepEqual([first?.command, first?.prompt], ["plan", remembered.question]);
    }
  });
});
