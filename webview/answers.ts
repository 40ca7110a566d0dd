/** What can be done with the answer on screen: ask it again, take its text and its citations elsewhere, keep it or delete it. */
import type { Host } from "./engine.ts";
import type { AttachedFiles } from "./protocol/panel.ts";
import { filesToOpen, insertion, stepped } from "./state/answerView.ts";
import { runFileName, runMarkdown } from "./state/runMarkdown.ts";
import { busyWith, shownRun } from "./state/store.ts";
import type { Action, Store } from "./state/store.ts";
import { placeText, plural } from "./state/words.ts";

export interface Answers {
  /** Asks the same question again as the same turn; the old answer stays among the saved runs. */
  regenerate: () => void;
  /** Puts a turn's question into the box; what is asked next takes its place, and the conversation behind it is cut. */
  edit: (runId: string) => void;
  cancelEdit: () => void;
  copy: () => void;
  /** Inserts the quote that is open, else the first one, else the answer, at the cursor of the last editor. */
  insert: () => void;
  /** Opens the lines of one citation of the answer on screen. */
  open: (index: number) => void;
  /** Opens the next or the previous citation; where it is, 1-based, or 0 of 0. */
  step: (step: 1 | -1) => Promise<{ citation: number; of: number }>;
  /** Opens every file with a verified citation, up to a limit that is told. */
  openAll: () => void;
  exportMarkdown: () => void;
  /** Deletes a saved run, after a question. */
  remove: (runId: string) => void;
}

/** What these actions need of the playground around them. */
export interface AnswerParts {
  store: Store;
  host: Pick<Host, "call">;
  dispatch: (action: Action) => void;
  /** Runs an effect whose failure becomes a notice. */
  attempt: (work: Promise<unknown>) => void;
  /** Asks a question; false where that cannot be now. */
  ask: (question: string) => boolean;
  /** Asks a question about these files and nothing else. */
  askAttached: (question: string, attached: AttachedFiles) => Promise<void>;
  writeClipboard: (text: string) => Promise<void>;
}

export function createAnswers({ store, host, dispatch, attempt, ask, askAttached, writeClipboard }: AnswerParts): Answers {
  const note = (text: string): void => {
    dispatch({ type: "noted", note: text });
  };
  /** The run on screen, where it stays there. */
  const settled = () => (busyWith(store.state) ? undefined : shownRun(store.state));

  async function openCitation(index: number): Promise<void> {
    const place = shownRun(store.state)?.result.citations[index];
    if (!place) return;
    const { path, startLine, endLine } = place;
    await host.call("citation/reveal", { path, startLine, endLine });
    dispatch({ type: "citationShown", index });
  }

  async function openAll(): Promise<void> {
    const { files, leftFiles } = filesToOpen(shownRun(store.state)?.result.citations ?? []);
    if (files.length === 0) return;
    const { opened, failed } = await host.call("citation/revealAll", { files });
    const left = leftFiles > 0 ? ` ${plural(leftFiles, "more file")} not opened: ten at a time.` : "";
    const broken = failed.map(({ path, message }) => ` ${path} not opened: ${message}.`).join("");
    note(`${plural(opened.length, "file")} opened.${left}${broken}`);
  }

  return {
    regenerate() {
      const run = settled();
      if (!run) return;
      const { result, attached } = run;
      dispatch({ type: "editStarted", runId: run.id });
      if (attached) attempt(askAttached(result.question, attached));
      else ask(result.question);
    },
    edit(runId) {
      if (!busyWith(store.state)) dispatch({ type: "editStarted", runId });
    },
    cancelEdit() {
      dispatch({ type: "editCancelled" });
    },
    copy() {
      const run = shownRun(store.state);
      if (run) attempt(writeClipboard(run.result.answer).then(() => note("Answer copied.")));
    },
    insert() {
      const run = shownRun(store.state);
      const inserted = run && insertion(run, store.state.answer.citation);
      if (!inserted) return;
      const { text, what } = inserted;
      attempt(host.call("editor/insert", { text }).then(({ path, line }) => note(`Inserted ${what} at ${path}:${line}.`)));
    },
    open(index) {
      attempt(openCitation(index));
    },
    async step(step) {
      const citations = shownRun(store.state)?.result.citations ?? [];
      const next = stepped(citations, store.state.answer.citation, step);
      if (next === undefined) {
        note("This answer has no verified citation.");
        return { citation: 0, of: 0 };
      }
      await openCitation(next);
      const place = citations[next];
      const of = citations.filter(({ verified }) => verified).length;
      const citation = citations.slice(0, next + 1).filter(({ verified }) => verified).length;
      if (place) note(`Citation ${citation} of ${of}: ${placeText(place)}.`);
      return { citation, of };
    },
    openAll() {
      attempt(openAll());
    },
    exportMarkdown() {
      const run = shownRun(store.state);
      if (!run) return;
      const saving = host.call("file/save", { name: runFileName(run), text: runMarkdown(run) });
      attempt(
        saving.then(({ saved }) => {
          if (saved) note("Exported as Markdown.");
        }),
      );
    },
    remove(runId) {
      const run = store.state.runs.find(({ id }) => id === runId);
      if (!run || busyWith(store.state)) return;
      const deleting = host.call("runs/delete", { id: runId, question: run.result.question });
      attempt(
        deleting.then(({ deleted }) => {
          if (deleted) dispatch({ type: "runDeleted", id: runId });
        }),
      );
    },
  };
}
