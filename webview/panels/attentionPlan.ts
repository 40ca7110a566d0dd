/** What the prompt would take of memory and time: as it is set, and as a table of every policy and cache format. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { AttentionTable, Plan, PlannedWay } from "../../engine/planner/api.ts";
import { flopsText, secondsText, sizeText } from "../../engine/planner/words.ts";
import { button, ring } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import { plannedTokens } from "../state/attentionFacts.ts";
import { planRows } from "../state/attentionPlan.ts";
import type { PlanRow } from "../state/attentionPlan.ts";
import type { State } from "../state/store.ts";
import { exact, plural, sentence } from "../state/words.ts";

export function attentionPlan(state: State, play: Playground): TemplateResult {
  const { attentionPlan: plan, engine } = state;
  const tokens = plannedTokens(state);
  const isRunning = plan.status === "running";
  return html`<div data-testid="lc-attention-plan" data-status=${plan.status}>
    <div class="actions">
      ${button({
        label: `Plan ${plural(tokens, "token")}`,
        testId: "lc-attention-plan-start",
        disabled: isRunning || engine.status !== "ready",
        title:
          "Memory and time of this prompt with every policy and cache format; the backend is measured the first time, which takes some seconds",
        onClick: play.attention.plan,
      })}
      ${isRunning ? html`${ring()}<span>measuring the backend</span> ${button({ label: "Stop", onClick: play.attention.stopPlan, testId: "lc-attention-plan-stop" })}` : nothing}
    </div>
    ${plan.status === "failed" ? html`<p class="problem" role="alert">${sentence(plan.error.message)} ${sentence(plan.error.remedy)}</p>` : nothing}
    ${plan.status === "ready" ? planned(plan.table) : nothing}
  </div>`;
}

function planned(table: AttentionTable): TemplateResult {
  const { attention, kv, plan } = table.chosen;
  return html`<p data-testid="lc-attention-plan-chosen" data-fits=${plan.fits ? "true" : "false"}>
      <strong
        >${attention}, keys and values in ${kv}, ${plural(table.tokens, "token")}: ${plan.fits ? "fits" : "does not fit"}.</strong
      >
      ${sentence(plan.because)} ${workText(plan)}
    </p>
    ${planTable(table)}
    <p class="dim">Times ${table.timeBecause}. Policies with their defaults, the chosen one as it is set.</p>`;
}

function workText({ prefillFlops, flopsAreExact, prefillSeconds, decodeSecondsPerToken }: Plan): string {
  const work = `${flopsAreExact ? "" : "at most "}${flopsText(prefillFlops)}`;
  const time = prefillSeconds === null ? "" : ` in about ${secondsText(prefillSeconds)}`;
  const decode = decodeSecondsPerToken === null ? "" : `, and ${secondsText(decodeSecondsPerToken)} for each token of the answer`;
  return `Reading the prompt takes ${work}${time}${decode}.`;
}

function planTable(table: AttentionTable): TemplateResult {
  const { formats, rows } = planRows(table);
  return html`<div class="scroll">
    <table class="numbers" data-testid="lc-attention-plan-table">
      <caption class="dim wrap">
        Keys and values of ${exact(table.tokens)} tokens, and the time to read the prompt, by their format
      </caption>
      <thead>
        <tr>
          <th scope="col">Attention</th>
          ${formats.map((format) => html`<th scope="col" class="number">${format}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map((row) => planRow(row, row.attention === table.chosen.attention))}
      </tbody>
    </table>
  </div>`;
}

function planRow({ attention, cells }: PlanRow, isChosen: boolean): TemplateResult {
  return html`<tr aria-current=${isChosen ? "true" : "false"}>
    <th scope="row">${attention}</th>
    ${cells.map((way) => (way === undefined ? html`<td class="number" title="not in this format">–</td>` : planCell(way)))}
  </tr>`;
}

function planCell({ plan }: PlannedWay): TemplateResult {
  const time = plan.prefillSeconds === null ? "" : ` · ${secondsText(plan.prefillSeconds)}`;
  return html`<td title=${sentence(plan.because)} class=${plan.fits ? "" : "problem"}>
    ${sizeText(plan.kvAllocatedBytes)}${time}${plan.fits ? "" : " · does not fit"}
  </td>`;
}
