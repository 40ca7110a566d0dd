/** Ask: the question, what goes in, how far it is, and the answer. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import { progressBar } from "../components/bars.ts";
import { button, questionBox, ring } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import type { SavedRun } from "../protocol/panel.ts";
import { promptPlan } from "../state/promptPlan.ts";
import type { PromptPlan } from "../state/promptPlan.ts";
import { busyWith, shownRun } from "../state/store.ts";
import type { FailedRun, LiveRun, State } from "../state/store.ts";
import { exact, plural, sentence, short } from "../state/words.ts";
import { answerCheck } from "./ablation.ts";
import { answer, leftOut, liveAnswer } from "./answer.ts";
import { earlierTurns, savedRuns } from "./runs.ts";
import { preSendSheet } from "./sheet.ts";

export function askPanel(state: State, play: Playground): TemplateResult {
  const run = shownRun(state);
  return html`<section id="panel-ask" role="tabpanel" aria-labelledby="tab-ask" class="ask">
    <div class="asking">
      ${questionBox({
        value: state.question,
        placeholder: state.thread.length > 0 ? "Ask a follow-up question" : "Where is the retry ceiling defined, and what is it?",
        onInput: play.typeQuestion,
        onSubmit: play.ask,
        testId: "lc-question",
      })}
      ${button({ label: "Ask ⏎", primary: true, onClick: play.ask, testId: "lc-ask", ...askable(state) })}
    </div>
    <div class="context">${contextLine(state, play)}</div>
    ${preSendSheet(state, play)}
    <div
      class="runline"
      data-testid="lc-progress"
      data-phase=${state.live?.phase ?? (state.sheet.status === "checking" ? "checking" : "idle")}
    >
      ${runLine(state, play)}
    </div>
    ${shownAnswer(state, run, play)} ${state.live?.packed ? leftOut(state.live.packed.rows) : nothing}
    ${earlierTurns(state, play)} ${savedRuns(state, play)}
  </section>`;
}

/** What stands below the question; while a question is checked nothing does, because what was there answers another. */
function shownAnswer(state: State, run: SavedRun | undefined, play: Playground): TemplateResult | typeof nothing {
  if (state.live) return liveAnswer(state.live);
  if (state.sheet.status === "checking") return nothing;
  if (state.failed) return failure(state.failed, play);
  return run ? html`${answer(run, state, play)} ${answerCheck(run, state, play)}` : emptyState(state);
}

/** The total in words: growing while it is counted, exact afterwards. */
export function totalText({ budget }: State): string {
  if (!budget) return "waiting for the token server";
  switch (budget.state) {
    case "counting":
      return `counting ${exact(budget.doneFiles)} / ${plural(budget.totalFiles, "file")}, ${exact(budget.tokens)} tokens`;
    case "ready":
      return `${exact(budget.tokens)} tokens in ${plural(budget.totalFiles, "file")}${budget.excluded > 0 ? ` · ${exact(budget.excluded)} excluded` : ""}`;
    case "failed":
      return budget.error ? `counting failed: ${budget.error.message}; ${budget.error.remedy}` : "counting failed";
  }
}

function askable(state: State): { disabled: boolean; title: string } {
  const busy = busyWith(state);
  if (busy === "answering") return { disabled: true, title: "A question is being answered; stop it first" };
  if (busy === "checking") return { disabled: true, title: "An answer is being checked; stop that first" };
  if (busy === "previewing") return { disabled: true, title: "A preview is being answered; stop it in the RoPE lab first" };
  if (busy === "searching") return { disabled: true, title: "A LongRoPE search is running; stop it in the RoPE lab first" };
  if (state.engine.status === "failed") return { disabled: true, title: "The engine is not running" };
  if (isEmpty(state)) return { disabled: true, title: "There is no text file to read" };
  return { disabled: state.question.trim() === "", title: "Enter asks, Shift+Enter starts a new line" };
}

function isEmpty({ budget }: State): boolean {
  return budget?.state === "ready" && budget.totalFiles === 0;
}

function contextLine(state: State, play: Playground): TemplateResult {
  const tokens = state.budget?.tokens ?? 0;
  return html`<span data-testid="lc-total" data-tokens=${tokens} data-state=${state.budget?.state ?? "waiting"}
      >${totalText(state)}</span
    >
    ${costLine(promptPlan(state))} ${editLine(state, play)}
    ${
      state.thread.length > 0 && !state.live && state.answer.editing === undefined
        ? html`<span class="dim">· follow-up to ${plural(state.thread.length, "answer")}: the cached prefix is used again</span>
            ${button({ label: "New question", onClick: play.newQuestion, testId: "lc-new" })}`
        : nothing
    }`;
}

/** Which turn the question in the box replaces. */
function editLine({ answer: { editing }, thread, live }: State, play: Playground): TemplateResult | typeof nothing {
  if (editing === undefined || live) return nothing;
  const behind = thread.length - 1 - thread.indexOf(editing);
  const cut = behind > 0 ? `, and ${plural(behind, "later turn")} ${behind === 1 ? "leaves" : "leave"} this conversation` : "";
  return html`<span data-testid="lc-editing">· replaces question ${thread.indexOf(editing) + 1}${cut}; saved runs stay</span>
    ${button({ label: "Cancel edit", title: "Escape", onClick: play.answers.cancelEdit, testId: "lc-cancel-edit" })}`;
}

/** What asking would compute, of all that the prompt has. */
function costLine(prompt: PromptPlan | undefined): TemplateResult | typeof nothing {
  if (!prompt) return nothing;
  if ("problem" in prompt) return html`<span class="problem" data-testid="lc-plan">· ${prompt.problem}</span>`;
  const { promptTokens, recomputedTokens, restoredTokens } = prompt.plan;
  const restored = restoredTokens > 0 ? `, ${exact(restoredTokens)} restored` : "";
  return html`<span class="dim" data-testid="lc-plan" data-recomputed=${recomputedTokens} data-prompt=${promptTokens}
    >· re-prefill ${exact(recomputedTokens)} of ${exact(promptTokens)} tokens${restored}</span
  >`;
}

function runLine(state: State, play: Playground): TemplateResult {
  const { live } = state;
  if (live) {
    const stop = button({
      label: live.stopping ? "Stopping…" : "Stop",
      onClick: play.stop,
      disabled: live.stopping,
      title: "Escape",
      testId: "lc-stop",
    });
    const phase = phaseText(live, state);
    return html`${ring()}${phaseBar(live)}<span class="phase" title=${phase}>${phase}</span>${stop}`;
  }
  const run = shownRun(state);
  if (!run) return html``;
  const { rows, promptTokens, reusedTokens } = run.result;
  const files = rows.filter((row) => row.included).length;
  return html`<span
    >${plural(files, "file")} · ${exact(promptTokens)} tokens · re-prefill ${exact(promptTokens - reusedTokens)} of
    ${exact(promptTokens)}</span
  >`;
}

function phaseBar(live: LiveRun): TemplateResult {
  if (live.phase === "prefill" && live.prefill) return progressBar(live.prefill.doneTokens, live.prefill.totalTokens, "prefill");
  if (live.phase === "packing" && live.packing) return progressBar(live.packing.doneFiles, live.packing.totalFiles, "packing");
  return progressBar(live.phase === "answering" ? 1 : 0, 1, live.phase);
}

function phaseText(live: LiveRun, state: State): string {
  const recovered = live.recovered === undefined ? "" : ` · started again: ${live.recovered}`;
  switch (live.phase) {
    case "listing":
      return state.engine.status === "starting" ? `waiting for the model: ${state.engine.stage}` : "listing files";
    case "packing":
      return `packing ${exact(live.packing?.doneFiles ?? 0)} / ${plural(live.packing?.totalFiles ?? 0, "file")}`;
    case "prefill": {
      const { prefill, packed } = live;
      if (!prefill) return `prefill 0 / ${short(packed?.promptTokens ?? 0)} tokens${recovered}`;
      const rate = prefill.tokensPerSecond > 0 ? ` · ${short(prefill.tokensPerSecond)} tok/s` : "";
      const reused = prefill.reusedTokens > 0 ? ` · reused ${exact(prefill.reusedTokens)}` : "";
      return `prefill ${short(prefill.doneTokens)} / ${short(prefill.totalTokens)} tokens, ${prefill.path}${rate}${reused}${recovered}`;
    }
    case "answering":
      return `answering${recovered}`;
  }
}

function failure(failed: FailedRun, play: Playground): TemplateResult {
  const { error, doneTokens, totalTokens } = failed;
  const stopped = error.code === "aborted";
  const kept =
    totalTokens > 0 ? `Stopped after ${exact(doneTokens)} of ${exact(totalTokens)} tokens` : "Stopped before the prompt was read";
  const message = stopped && error.message === "stopped" ? kept : error.message;
  return html`<div
    class="block ${stopped ? "" : "error"}"
    role=${stopped ? "status" : "alert"}
    data-testid="lc-failure"
    data-code=${error.code}
  >
    <p><strong>${sentence(message)}</strong></p>
    <p>${sentence(error.remedy)}</p>
    ${button({ label: "Ask again", primary: true, onClick: play.ask })}
    ${stopped ? nothing : button({ label: "Restart the engine", onClick: play.restartEngine })}
  </div>`;
}

function emptyState(state: State): TemplateResult {
  if (isEmpty(state)) {
    return html`<div class="block">
      <p><strong>There is no text file to read here.</strong></p>
      <p>Open a folder with source files. Binary files and what .gitignore names are left out.</p>
    </div>`;
  }
  return html`<div class="block quiet">
    <p>Ask where something is defined, what a constant is, what a function returns, or which file imports a module.</p>
    <p>
      The whole workspace is read into the model's context on this machine. Nothing is sent anywhere. Every citation is a quote
      found in your files at the lines it names.
    </p>
  </div>`;
}
