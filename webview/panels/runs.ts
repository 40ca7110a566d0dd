/** Finished runs: earlier turns of this conversation, and the list of all that are saved. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { Playground } from "../playground.ts";
import type { SavedRun } from "../protocol/panel.ts";
import { costRows, settingRows } from "../state/runFacts.ts";
import type { Row } from "../state/runFacts.ts";
import type { State } from "../state/store.ts";
import { exact, plural } from "../state/words.ts";
import { editButton } from "./answerActions.ts";

export function earlierTurns(state: State, play: Playground): TemplateResult | typeof nothing {
  const earlier = state.thread.filter((id) => state.live !== undefined || id !== state.shownRun);
  const turns = earlier.flatMap((id) => state.runs.filter((run) => run.id === id));
  if (turns.length === 0) return nothing;
  return html`<section class="turns" aria-label="Earlier in this conversation">
    <h3>Earlier in this conversation</h3>
    ${turns.map(
      ({ id, result }) =>
        html`<div class="turn">
          <p class="dim" dir="auto">${result.question}</p>
          <lc-text
            tabindex="0"
            role="group"
            aria-label="Answer"
            .text=${result.absent ? "not in these files" : result.answer}
          ></lc-text>
          ${editButton(id, state, play, "lc-edit-earlier")}
        </div>`,
    )}
  </section>`;
}

export function savedRuns(state: State, play: Playground): TemplateResult | typeof nothing {
  if (state.runs.length === 0) return nothing;
  const newest = [...state.runs].reverse();
  return html`<details class="runs" data-testid="lc-runs" data-count=${state.runs.length}>
    <summary>${plural(state.runs.length, "saved run")}</summary>
    <ul>
      ${newest.map((run) => savedRow(run, state, play))}
    </ul>
  </details>`;
}

/** Everything a run was asked with, and what it took. */
export function runSettings(run: SavedRun): TemplateResult {
  return html`<details class="rows" data-testid="lc-run-settings">
    <summary>Settings, tokens and time of this run</summary>
    <table>
      <tbody>
        ${[...settingRows(run), ...costRows(run)].map(factRow)}
      </tbody>
    </table>
    ${run.settings ? nothing : html`<p class="dim">It was saved by a version that did not keep the model's name, sampling and answer length.</p>`}
  </details>`;
}

function factRow([name, value]: Row): TemplateResult {
  return html`<tr>
    <th scope="row">${name}</th>
    <td dir="auto">${value}</td>
  </tr>`;
}

function savedRow(run: SavedRun, state: State, play: Playground): TemplateResult {
  const { id, askedAt, result, settings } = run;
  const facts = [
    new Date(askedAt).toLocaleString(),
    `${exact(result.promptTokens)} tokens`,
    ...(settings ? [settings.model] : []),
  ];
  const isBusy = state.live !== undefined;
  return html`<li>
    <button
      class="link"
      dir="auto"
      data-testid="lc-saved-run"
      data-id=${id}
      aria-current=${id === state.shownRun ? "true" : "false"}
      ?disabled=${isBusy}
      @click=${() => {
        play.showRun(id);
      }}
    >
      ${result.question}
    </button>
    <span class="dim">${facts.join(" · ")}</span>
    <button
      class="link"
      data-testid="lc-delete-run"
      aria-label="Delete the run: ${result.question}"
      title="Deletes this run from the machine, after a question"
      ?disabled=${isBusy}
      @click=${() => {
        play.answers.remove(id);
      }}
    >
      Delete
    </button>
  </li>`;
}
