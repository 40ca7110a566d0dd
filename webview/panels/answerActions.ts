/** What can be done with the answer on screen, and what the last of it came to. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { button } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import type { SavedRun } from "../protocol/panel.ts";
import { insertion } from "../state/answerView.ts";
import { busyWith } from "../state/store.ts";
import type { State } from "../state/store.ts";
import { plural } from "../state/words.ts";

export function answerActions(run: SavedRun, state: State, play: Playground): TemplateResult {
  const { answers } = play;
  const { note, citation } = state.answer;
  const busy = busyWith(state) !== undefined || state.engine.status === "failed";
  const inserted = insertion(run, citation);
  const isQuoted = run.result.citations.some(({ verified }) => verified);
  return html`<div class="actions" role="group" aria-label="Actions on this answer">
      ${button({
        label: "Regenerate",
        title: `Asks the same question again as this turn${run.attached ? `, of the ${plural(run.attached.files.length, "file")} that it was limited to` : ""}; this answer stays among the saved runs`,
        disabled: busy,
        onClick: () => {
          answers.regenerate();
          focusNext("answer");
        },
        testId: "lc-regenerate",
      })}
      ${editButton(run.id, state, play)}
      ${button({ label: "Copy", title: "Copies the answer", onClick: answers.copy, testId: "lc-copy" })}
      ${button({
        label: "Insert at cursor",
        title: inserted ? `Inserts ${inserted.what} where the cursor of the last text editor is` : "There is nothing to insert",
        disabled: inserted === undefined,
        onClick: answers.insert,
        testId: "lc-insert",
      })}
      ${button({
        label: "Open all citations",
        title: isQuoted ? "Opens every file with a verified citation at its lines" : "There is no verified citation",
        disabled: !isQuoted,
        onClick: answers.openAll,
        testId: "lc-open-all",
      })}
      ${button({ label: "Export as Markdown…", onClick: answers.exportMarkdown, testId: "lc-export" })}
      ${button({ label: "Inspect attention", onClick: play.inspectAttention, testId: "lc-inspect" })}
    </div>
    ${note === undefined ? nothing : html`<p class="dim" dir="auto" data-testid="lc-note">${note}</p>`}`;
}

/** Puts the question of a turn back into the box, and the keyboard with it. */
export function editButton(runId: string, state: State, play: Playground, testId = "lc-edit"): TemplateResult {
  return button({
    label: "Edit question",
    title: "Puts the question back into the box; what is asked next takes its place in this conversation",
    disabled: busyWith(state) !== undefined,
    onClick: () => {
      play.answers.edit(runId);
      focusNext("question");
    },
    testId,
  });
}

/** After the next frame: the control that was used may be gone by then, and the keyboard must be somewhere. */
function focusNext(id: "answer" | "question"): void {
  requestAnimationFrame(() => document.getElementById(id)?.focus());
}
