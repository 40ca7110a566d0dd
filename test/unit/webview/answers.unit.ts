/** What can be done with an answer: the state it leaves, and what it asks of the host. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Citation } from "../../../engine/generate/api.ts";
import type { Host } from "../../../webview/engine.ts";
import type { HostCalls } from "../../../webview/protocol/panel.ts";
import { createAnswers } from "../../../webview/answers.ts";
import { filesToOpen, insertion, stepped } from "../../../webview/state/answerView.ts";
import { createStore, initialState, threadHistory } from "../../../webview/state/store.ts";
import { savedRun } from "./panelFixtures.ts";

function cited(path: string, startLine: number, verified = true): Citation {
  return { path, startLine, endLine: startLine, quote: `line ${startLine} of ${path}`, verified };
}

/** A conversation of three answered questions, and a host that answers what a test says. */
function conversation(
  citations: readonly Citation[] = [],
  replies: { [Name in keyof HostCalls]?: HostCalls[Name]["result"] } = {},
) {
  const store = createStore(initialState({ tab: "ask", question: "" }));
  for (const id of ["one", "two", "three"])
    store.dispatch({
      type: "runFinished",
      run: savedRun(id, { question: `${id}?`, citations }, `2026-01-01T00:00:0${id.length}.000Z`),
    });
  const calls: { name: string; params: unknown }[] = [];
  const asked: { question: string; after: string[] }[] = [];
  const work: Promise<unknown>[] = [];
  const call: Host["call"] = async (name, params) => {
    calls.push({ name, params });
    const reply = replies[name];
    assert.ok(reply, name);
    return reply;
  };
  const answers = createAnswers({
    store,
    host: { call },
    dispatch: (action) => store.dispatch(action),
    attempt: (started) => void work.push(started),
    ask: (question) => {
      asked.push({ question, after: threadHistory(store.state).map((turn) => turn.question) });
      store.dispatch({ type: "runStarted", id: "new", question });
      return true;
    },
    askAttached: async (question, { files }) => {
      asked.push({ question: `${question} of ${files.map(({ path }) => path).join()}`, after: [] });
    },
    writeClipboard: async (text) => void calls.push({ name: "clipboard", params: text }),
  });
  return { store, calls, asked, answers, settled: () => Promise.all(work) };
}

describe("asking a turn again", () => {
  it("regenerates the last answer in its place, and keeps the old one among the saved runs", () => {
    const { store, asked, answers } = conversation();
    answers.regenerate();
    assert.deepEqual(asked, [{ question: "three?", after: ["one?", "two?"] }]);
    store.dispatch({ type: "runFinished", run: savedRun("new", { question: "three?" }, "2026-01-02T00:00:00.000Z") });
    assert.deepEqual(store.state.thread, ["one", "two", "new"]);
    assert.deepEqual(
      store.state.runs.map(({ id }) => id),
      ["one", "two", "three", "new"].sort((a, b) => (a === "new" ? 1 : b === "new" ? -1 : 0)),
    );
  });

  it("regenerates an answer about what was attached from nothing else", async () => {
    const { store, asked, answers, settled } = conversation();
    const limited = savedRun("four", { question: "four?" }, "2026-01-01T00:00:09.000Z");
    const attached = { files: [{ path: "a.ts", hash: "1", sizeBytes: 1 }], first: [] };
    store.dispatch({ type: "runFinished", run: { ...limited, attached } });
    answers.regenerate();
    await settled();
    assert.deepEqual(asked, [{ question: "four? of a.ts", after: [] }]);
  });

  it("edits an earlier question: its text is in the box, and the next one asked is that turn", () => {
    const { store, answers } = conversation();
    answers.edit("two");
    assert.equal(store.state.question, "two?");
    assert.deepEqual(store.state.thread, ["one", "two", "three"], "nothing is cut before it is asked");
    assert.deepEqual(
      threadHistory(store.state).map(({ question }) => question),
      ["one?"],
    );
    store.dispatch({ type: "runStarted", id: "new", question: "two, other?" });
    assert.deepEqual(store.state.thread, ["one"]);
    assert.equal(store.state.answer.editing, undefined);
  });

  it("takes an edit back with the whole conversation", () => {
    const { store, answers } = conversation();
    answers.edit("one");
    answers.cancelEdit();
    assert.deepEqual([store.state.question, threadHistory(store.state).length], ["", 3]);
  });

  it("does neither while a question is answered", () => {
    const { store, asked, answers } = conversation();
    store.dispatch({ type: "runStarted", id: "live", question: "?" });
    answers.regenerate();
    answers.edit("one");
    assert.deepEqual([asked, store.state.answer.editing], [[], undefined]);
  });
});

describe("citations", () => {
  const places = [cited("b.ts", 9), cited("a.ts", 3), cited("x.ts", 0, false), cited("b.ts", 2), cited("b.ts", 9)];

  it("open by file, each place once, in the order of the answer, and only those that are verified", () => {
    assert.deepEqual(filesToOpen(places), {
      files: [
        {
          path: "b.ts",
          lines: [
            { startLine: 9, endLine: 9 },
            { startLine: 2, endLine: 2 },
          ],
        },
        { path: "a.ts", lines: [{ startLine: 3, endLine: 3 }] },
      ],
      leftFiles: 0,
    });
    const many = Array.from({ length: 13 }, (_, index) => cited(`${index}.ts`, 1));
    assert.deepEqual([filesToOpen(many).files.length, filesToOpen(many).leftFiles], [10, 3]);
  });

  it("tell how many files were opened, left, and could not be opened", async () => {
    const many = Array.from({ length: 11 }, (_, index) => cited(`${index}.ts`, 1));
    const failed = [{ path: "1.ts", message: "1.ts is gone" }];
    const { store, answers, settled } = conversation(many, { "citation/revealAll": { opened: ["0.ts"], failed } });
    answers.openAll();
    await settled();
    assert.equal(store.state.answer.note, "1 file opened. 1 more file not opened: ten at a time. 1.ts not opened: 1.ts is gone.");
  });

  it("are stepped through in a circle, without those that have no lines", async () => {
    assert.deepEqual(
      [stepped(places, undefined, 1), stepped(places, 1, 1), stepped(places, 0, -1), stepped(places, undefined, -1)],
      [0, 3, 4, 4],
    );
    assert.equal(stepped([cited("x.ts", 0, false)], undefined, 1), undefined);
    const { store, calls, answers } = conversation(places, { "citation/reveal": { line: 9 } });
    assert.deepEqual(await answers.step(1), { citation: 1, of: 4 });
    assert.deepEqual(await answers.step(1), { citation: 2, of: 4 });
    assert.deepEqual(await answers.step(1), { citation: 3, of: 4 });
    assert.deepEqual(calls.at(-1)?.params, { path: "b.ts", startLine: 2, endLine: 2 });
    assert.equal(store.state.answer.note, "Citation 3 of 4: b.ts:2.");
  });
});

describe("taking an answer elsewhere", () => {
  it("inserts the quote that is open, else the first verified one, else the answer", () => {
    const places = [cited("x.ts", 0, false), cited("a.ts", 3), cited("b.ts", 9)];
    const run = savedRun("r", { citations: places });
    assert.deepEqual(insertion(run, undefined), { text: "line 3 of a.ts", what: "the quote of a.ts:3" });
    assert.equal(insertion(run, 2)?.text, "line 9 of b.ts");
    assert.equal(insertion(run, 0)?.text, "line 3 of a.ts");
    assert.deepEqual(insertion(savedRun("r"), undefined), { text: "answer r", what: "the answer" });
    assert.equal(insertion(savedRun("r", { absent: true }), undefined), undefined);
  });

  it("says where it was inserted", async () => {
    const { store, calls, answers, settled } = conversation([cited("a.ts", 3)], { "editor/insert": { path: "own.ts", line: 7 } });
    answers.insert();
    await settled();
    assert.deepEqual(calls, [{ name: "editor/insert", params: { text: "line 3 of a.ts" } }]);
    assert.equal(store.state.answer.note, "Inserted the quote of a.ts:3 at own.ts:7.");
  });

  it("says that it was exported only where a file was written", async () => {
    for (const saved of [true, false]) {
      const { store, calls, answers, settled } = conversation([], { "file/save": { saved } });
      answers.exportMarkdown();
      await settled();
      assert.equal(calls[0]?.name, "file/save");
      assert.equal(store.state.answer.note, saved ? "Exported as Markdown." : undefined);
    }
  });
});

const nowhere = { shownRun: undefined, cachedRun: undefined, contextRun: undefined, editing: undefined };

describe("saved runs", () => {
  it("are forgotten only when the host deleted them, with all that was about them", async () => {
    const kept = conversation([], { "runs/delete": { deleted: false } });
    kept.answers.remove("three");
    await kept.settled();
    assert.equal(kept.store.state.runs.length, 3);
    const { store, answers, settled } = conversation([], { "runs/delete": { deleted: true } });
    answers.edit("three");
    answers.remove("three");
    await settled();
    const { runs, thread, shownRun, cachedRun, contextRun, answer } = store.state;
    assert.deepEqual([runs.length, thread], [2, ["one", "two"]]);
    assert.deepEqual({ shownRun, cachedRun, contextRun, editing: answer.editing }, nowhere);
  });

  it("come back with the conversation that led to them, without turns that were deleted since", () => {
    const { store } = conversation();
    store.dispatch({ type: "runFinished", run: { ...savedRun("later"), earlier: ["gone", "one", "two"] } });
    store.dispatch({ type: "newQuestion" });
    store.dispatch({ type: "runShown", id: "later" });
    assert.deepEqual(store.state.thread, ["one", "two", "later"]);
    store.dispatch({ type: "runShown", id: "two" });
    assert.deepEqual(store.state.thread, ["two"], "runs of older versions know nothing of theirs");
  });
});
