/** What is off about a question, between Ask and computing: a dialog beside the rest of the panel, closed by Enter or Escape. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { ref } from "lit/directives/ref.js";
import { button, ring } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import type { SuspectedSecret } from "../protocol/panel.ts";
import type { Sheet, SheetChoice } from "../state/sheet.ts";
import { busyWith } from "../state/store.ts";
import type { State } from "../state/store.ts";
import { duration, exact, plural } from "../state/words.ts";
import { leftOut } from "./answer.ts";

/** Nothing while nothing is off. */
export function preSendSheet(state: State, play: Playground): TemplateResult | typeof nothing {
  const { sheet: shown } = state;
  if (shown.status === "closed") return nothing;
  if (shown.status === "checking") return checking(state, play);
  const { sheet, without } = shown;
  const busy = busyWith(state) !== undefined;
  const pressed = (event: KeyboardEvent): void => {
    // Enter on a button is the button's own; one that is held down was meant for the question.
    if (event.key === "Enter" && event.target === event.currentTarget && !event.repeat && !busy)
      play.chooseOnSheet(sheet.choices[0] ?? "cancel");
    else if (event.key === "Escape") play.chooseOnSheet("cancel");
    else return;
    event.preventDefault();
  };
  return html`<section
    class="block sheet"
    role="dialog"
    aria-modal="false"
    aria-labelledby="sheet-title"
    aria-describedby="sheet-parts"
    tabindex="-1"
    data-testid="lc-sheet"
    @keydown=${pressed}
    ${ref(followFocus)}
  >
    <h3 id="sheet-title">Before this question is computed</h3>
    <div id="sheet-parts">
      ${overBudgetPart(sheet.overBudget)} ${secretsPart(sheet.secrets)} ${coldPart(sheet.cold)}
      ${without.length > 0 ? html`<p class="dim">Left out of this question: ${without.join(", ")}.</p>` : nothing}
    </div>
    ${sheet.overBudget ? leftOut(sheet.overBudget.leftOut) : nothing}
    ${sheet.choices.map((choice, index) => choiceButton(choice, index === 0, busy, sheet, play))}
    <p class="dim">Enter: ${labelOf(sheet.choices[0] ?? "cancel", sheet)}. Escape: cancel; the question stays in the box.</p>
  </section>`;
}

/** The line while it is found out, which takes a moment where the question was not planned while it was typed. */
function checking({ engine }: State, play: Playground): TemplateResult {
  const what = engine.status === "starting" ? `waiting for the model: ${engine.stage}` : "checking what goes in";
  return html`<div class="runline" data-testid="lc-checking">
    ${ring()}<span class="phase">${what}</span
    >${button({ label: "Stop", onClick: play.stop, title: "Escape", testId: "lc-stop" })}
  </div>`;
}

function overBudgetPart(over: Sheet["overBudget"]): TemplateResult | typeof nothing {
  if (!over) return nothing;
  const { leftOut: rows, files, overTokens, limit } = over;
  const inPart = rows.some(({ included }) => included) ? " or read only in part" : "";
  return html`<p data-testid="lc-sheet-over" data-files=${rows.length} data-tokens=${overTokens}>
    <strong>${exact(rows.length)} of ${plural(files, "file")} would be left out${inPart}:</strong> everything, with the question
    and room for the answer, is ${plural(overTokens, "token")} over the window of ${exact(limit.tokens)}. ${limit.explanation}
  </p>`;
}

function secretsPart(secrets: Sheet["secrets"]): TemplateResult | typeof nothing {
  if (!secrets) return nothing;
  const { found, paths } = secrets;
  const more = found.length - MOST_NAMED;
  return html`<p data-testid="lc-sheet-secrets" data-files=${paths.length}>
      <strong
        >${plural(paths.length, "file")} that would go in ${paths.length === 1 ? "looks" : "look"} like holding secrets.</strong
      >
      Nothing leaves this machine: the model runs here, but the answer may quote them, and it is kept with the saved runs.
    </p>
    <ul>
      ${found.slice(0, MOST_NAMED).map((one) => html`<li><code>${placeOf(one)}</code> ${one.message} <span class="dim">(rule ${one.rule})</span></li>`)}
      ${more > 0 ? html`<li>… and ${exact(more)} more</li>` : nothing}
    </ul>`;
}

function coldPart(cold: Sheet["cold"]): TemplateResult | typeof nothing {
  if (!cold) return nothing;
  const { recomputedTokens, promptTokens, seconds, because } = cold;
  const basis = because === "the last question" ? "at the speed of the last question" : "as measured on this device";
  return html`<p data-testid="lc-sheet-cold" data-tokens=${recomputedTokens} data-seconds=${seconds}>
    <strong>Reading takes about ${duration(seconds * 1000)}:</strong> ${exact(recomputedTokens)} of
    ${plural(promptTokens, "token")} of the prompt are not cached and have to be computed, ${basis}. What is finished when you
    stop is kept. The setting <code>longContext.ask.coldPrefixSeconds</code> says from when on you are asked.
  </p>`;
}

function choiceButton(choice: SheetChoice, primary: boolean, busy: boolean, sheet: Sheet, play: Playground): TemplateResult {
  const waits = busy && choice !== "cancel";
  return button({
    label: labelOf(choice, sheet),
    primary,
    disabled: waits,
    ...(waits ? { title: "The engine is busy; wait until it is done, or stop it" } : {}),
    testId: `lc-sheet-${choice}`,
    onClick: () => {
      play.chooseOnSheet(choice);
    },
  });
}

function labelOf(choice: SheetChoice, { overBudget, secrets }: Sheet): string {
  switch (choice) {
    case "leave-out":
      return `Leave ${secrets?.paths.length === 1 ? "this file" : "these files"} out of this question`;
    case "ask":
      return overBudget ? "Ask with what fits" : secrets ? "Ask anyway" : "Compute and ask";
    case "fit":
      return `Fit levels to ${exact(overBudget?.limit.tokens ?? 0)} tokens…`;
    case "widen":
      return `Scale the window to ${exact(overBudget?.widerTokens ?? 0)} tokens`;
    case "cancel":
      return "Cancel";
  }
}

/** Findings that are named one by one. */
const MOST_NAMED = 8;

function placeOf({ path, line }: SuspectedSecret): string {
  return line === 0 ? path : `${path}:${line}`;
}

/** The keyboard goes to the sheet when it comes, and back to the question when it goes. */
function followFocus(sheet: Element | undefined): void {
  const next = sheet ?? document.querySelector('[data-testid="lc-question"]');
  if (!(next instanceof HTMLElement)) return;
  // It is not in the document yet, or still there.
  requestAnimationFrame(() => next.focus());
}
