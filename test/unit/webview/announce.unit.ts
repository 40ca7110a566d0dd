import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { announce, MAX_TOLD_CHARACTERS, nothingTold } from "../../../webview/state/announce.ts";
import type { Tellable } from "../../../webview/state/announce.ts";
import { savedRun } from "./panelFixtures.ts";

const quiet: Tellable = { status: "Answering", note: undefined, live: undefined, finished: undefined };

/** What is said after each of these states, one after the other. */
function said(states: readonly Partial<Tellable>[]): string[] {
  let told = { ...nothingTold, status: quiet.status };
  return states.map((state) => {
    const next = announce(told, { ...quiet, ...state });
    told = { ...next.told };
    return next.say;
  });
}

function live(text: string, provisional = false): Pick<Tellable, "live"> {
  return { live: { id: "r", text, provisional } };
}

describe("what is read out", () => {
  it("is an answer by whole sentences and lines, each once, and the rest at its end", () => {
    const finished = savedRun("r", { answer: "It is 9. See:\nconst a = 9;" });
    assert.deepEqual(said([live("It is"), live("It is 9"), live("It is 9. See"), live("It is 9. See:\nco"), { finished }]), [
      "",
      "",
      "It is 9.",
      "See:",
      "const a = 9;\nAnswered with 0 verified citations.",
    ]);
  });

  it("does not take a dot inside a name or a number for the end of a sentence", () => {
    assert.deepEqual(said([live("call fs.read(1.5")]), [""]);
  });

  it("leaves quotes out that another one may replace, and says the one that it became", () => {
    const quote = { path: "a.ts", startLine: 1, endLine: 1, quote: "const b = 2;", verified: true };
    const finished = savedRun("r", { answer: "const b = 2;", citations: [quote] });
    assert.deepEqual(said([live("const a = 1;\n", true), live("const b = 2;", true), { finished }]), [
      "",
      "",
      "const b = 2;\nAnswered with 1 verified citation.",
    ]);
  });

  it("stops reading a very long answer, and says how long it is", () => {
    const answer = "a line of it\n".repeat(10_000);
    const [first = "", second = "", last = ""] = said([
      live(answer),
      live(`${answer}more\n`),
      { finished: savedRun("r", { answer }) },
    ]);
    assert.ok(first.length > MAX_TOLD_CHARACTERS / 2 && first.length <= MAX_TOLD_CHARACTERS);
    assert.equal(second, "");
    assert.ok(last.length < 200, last);
    assert.match(last, /The answer has 130,000 characters\./);
  });

  it("is the state of the panel when it changes, and what an action came to, once", () => {
    assert.deepEqual(
      said([{ status: "Ready" }, { status: "Ready" }, { status: "Ready", note: "Answer copied." }, { note: "Answer copied." }]),
      ["Ready", "", "Answer copied.", "Answering"],
    );
  });

  it("says the answer alone when a run ends, not that the panel is ready again", () => {
    const finished = savedRun("r", { answer: "It is 9." });
    assert.deepEqual(said([live("It"), { finished, status: "Ready" }, { finished, status: "Ready" }]), [
      "",
      "It is 9.\nAnswered with 0 verified citations.",
      "",
    ]);
  });

  it("says that an answer is not there, and nothing of a run that failed", () => {
    assert.deepEqual(said([live("not "), { finished: savedRun("r", { absent: true }) }]), [
      "",
      "The model says that the answer is not in these files.",
    ]);
    assert.deepEqual(said([live("half"), { finished: savedRun("an earlier one") }]), ["", ""]);
  });
});
