/** Whether the answer depends on the lines it cites: a button, and what came of it. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { CheckProgress } from "../../engine/generate/api.ts";
import { progressBar } from "../components/bars.ts";
import { button } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import type { SavedRun } from "../protocol/panel.ts";
import { checkText, startable } from "../state/checkWords.ts";
import type { State } from "../state/store.ts";
import { exact, sentence } from "../state/words.ts";

/** Nothing where the answer cites no lines. */
export function answerCheck(run: SavedRun, state: State, play: Pick<Playground, "checks">): TemplateResult | typeof nothing {
  if (!run.result.citations.some(({ verified }) => verified)) return nothing;
  const { check } = state;
  const isMine = check.status !== "idle" && check.runId === run.id;
  return html`<div class="check" data-testid="lc-check" data-status=${isMine ? check.status : "idle"}>
    <div class="actions">
      ${button({ label: "Check by leaving it out", testId: "lc-check-start", onClick: play.checks.start, ...startable(run, state) })}
      ${
        isMine && check.status === "running"
          ? button({ label: "Stop", testId: "lc-check-stop", disabled: check.stopping, onClick: play.checks.stop })
          : nothing
      }
    </div>
    ${isMine && check.status === "running" ? running(check.progress) : nothing}
    ${isMine && check.status === "ready" ? html`<p data-testid="lc-check-result">${checkText(check.check)}</p>` : nothing}
    ${
      isMine && check.status === "failed"
        ? html`<p class="problem" role="alert">${sentence(check.error.message)} ${sentence(check.error.remedy)}</p>`
        : nothing
    }
  </div>`;
}

function running(progress: CheckProgress | undefined): TemplateResult {
  if (progress === undefined) return html`<p class="dim">Waiting for the engine</p>`;
  const { reading, doneTokens, totalTokens } = progress;
  const text = `Reading the prompt ${reading} the cited lines (${reading === "without" ? 1 : 2} of 2): ${exact(doneTokens)} of ${exact(totalTokens)} tokens`;
  return html`<p class="dim">${text}</p>
    ${progressBar(doneTokens, totalTokens, text)}`;
}
