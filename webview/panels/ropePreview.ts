/** The last answer under the setting in force: at once and approximately, beside the exact one. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { RopePreview } from "../../engine/eval/api.ts";
import { label } from "../../engine/position/limits.ts";
import { button, ring } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import type { SavedRun } from "../protocol/panel.ts";
import { exactRunOf } from "../state/lab.ts";
import { busyWith } from "../state/store.ts";
import type { State } from "../state/store.ts";
import { duration, exact, sentence } from "../state/words.ts";

export function previewPanel(state: State, play: Playground, isReadable: boolean): TemplateResult {
  const { preview } = state.lab;
  const busy = busyWith(state);
  const run = state.runs.find(({ id }) => id === (state.contextRun ?? state.shownRun));
  const hasContext = state.contextRun !== undefined;
  return html`<div class="preview" data-testid="lc-preview" data-status=${preview.status}>
    <div class="actions">
      ${button({
        label: "Preview (approximate)",
        testId: "lc-preview-start",
        disabled: busy !== undefined || !hasContext || !isReadable,
        title: hasContext
          ? "Turns the cached keys to this setting and answers the last question again, without reading the files again"
          : "Ask a question first: its context is what is turned",
        onClick: play.lab.preview,
      })}
      ${button({
        label: "Run exactly",
        testId: "lc-run-exactly",
        disabled: busy !== undefined || run === undefined || !isReadable,
        title: "Asks the same question again and computes everything under this setting",
        onClick: play.lab.runExactly,
      })}
      ${
        preview.status === "running"
          ? html`${ring()}<span>${preview.phase}</span>
              ${button({ label: "Stop", onClick: play.lab.stopPreview, testId: "lc-preview-stop" })}`
          : nothing
      }
    </div>
    ${run === undefined ? html`<p class="dim">Once a question was answered, its answer under another setting can be previewed here.</p>` : nothing}
    ${preview.status === "running" && preview.text !== "" ? html`<pre class="answer" aria-busy="true">${preview.text}</pre>` : nothing}
    ${preview.status === "failed" ? html`<p class="problem" role="alert">${sentence(preview.error.message)} ${sentence(preview.error.remedy)}</p>` : nothing}
    ${preview.status === "ready" ? comparison(state, preview.runId, preview.preview) : nothing}
  </div>`;
}

function comparison(state: State, runId: string, preview: RopePreview): TemplateResult {
  const before = state.runs.find(({ id }) => id === runId);
  const exactRun = exactRunOf(state.runs, preview);
  const { repositionMs, prefillMs, decodeMs } = preview.timings;
  return html`<p class="dim">${preview.question}</p>
    <div class="compare">
      ${before && before.id !== exactRun?.id ? answered("before", before) : nothing}
      <article data-testid="lc-preview-answer">
        <h4>${label(preview.rope)}, approximate</h4>
        <pre class="answer">${answerText(preview)}</pre>
        <p class="dim">
          approximate: deeper layers still hold what the old rotation computed. ${exact(preview.recomputedTokens)} of
          ${exact(preview.promptTokens)} tokens were computed anew in ${duration(repositionMs + prefillMs + decodeMs)}.
        </p>
      </article>
      ${
        exactRun
          ? answered("exact", exactRun)
          : html`<article class="quiet">
              <h4>${label(preview.rope)}, exact</h4>
              <p class="dim">Not computed yet: <em>Run exactly</em> reads the whole context under this setting.</p>
            </article>`
      }
    </div>`;
}

function answered(what: "before" | "exact", { result }: SavedRun): TemplateResult {
  const { packMs, prefillMs, decodeMs } = result.timings;
  return html`<article data-testid="lc-preview-${what}">
    <h4>${label(result.rope)}, ${what === "exact" ? "exact" : "as it was asked"}</h4>
    <pre class="answer">${answerText(result)}</pre>
    <p class="dim">
      ${exact(result.promptTokens - result.reusedTokens)} of ${exact(result.promptTokens)} tokens computed in
      ${duration(packMs + prefillMs + decodeMs)}.
    </p>
  </article>`;
}

function answerText({ absent, answer }: Pick<RopePreview, "absent" | "answer">): string {
  return absent ? "not in these files" : answer;
}
