/** LongRoPE's search in the lab: its budget, how far it is, and what it found. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { DecoderSpec } from "../../engine/api.ts";
import { countOf, isFinished } from "../../engine/position/search.ts";
import { progressBar } from "../components/bars.ts";
import { button, textField } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import { readSearchForm, resumeProblem, searchedBest, suggestedForm } from "../state/lab.ts";
import type { SearchForm, SearchReading, SearchView } from "../state/lab.ts";
import { busyWith } from "../state/store.ts";
import type { State } from "../state/store.ts";
import { exact, percent, sentence } from "../state/words.ts";

export function searchPanel(state: State, spec: DecoderSpec, play: Playground): TemplateResult {
  const { search } = state.lab;
  const capacityTokens = state.engine.status === "ready" ? state.engine.info.capacityTokens : Number.MAX_SAFE_INTEGER;
  const form = search.form ?? suggestedForm(spec, capacityTokens);
  const reading = readSearchForm(form, spec, capacityTokens);
  const isRunning = search.status.kind === "running";
  return html`<details
    class="search"
    ?open=${search.status.kind !== "idle" || search.saved !== undefined}
    data-testid="lc-search"
  >
    <summary>Search…</summary>
    <p class="dim">
      Evolution over the long factors, judged by the model's perplexity on texts of the target length made of your files. It
      begins with YaRN's divisors.
    </p>
    <div class="fields">${fields(form, reading, isRunning, play)}</div>
    <div class="actions">${controls(state, spec, reading, play)}</div>
    <div data-testid="lc-search-status" data-status=${search.status.kind} data-judged=${judgedLists(search)}>
      ${statusLine(search)} ${results(search, spec, play)}
    </div>
  </details>`;
}

const FIELDS: readonly { name: keyof SearchForm; label: string; help: string }[] = [
  { name: "targetTokens", label: "Target length, tokens", help: "above the trained length, at most what the cache holds" },
  { name: "documents", label: "Texts", help: "texts of that length to judge by; each costs a reading per list" },
  { name: "population", label: "Population", help: "lists of the first generation; 64 as released" },
  { name: "iterations", label: "Generations", help: "40 as released; a search that is over goes on with more" },
];

function fields(form: SearchForm, reading: SearchReading, isRunning: boolean, play: Playground): TemplateResult[] {
  const problems = "problems" in reading ? reading.problems : {};
  return FIELDS.map(({ name, label, help }) =>
    textField({
      label,
      help,
      value: form[name],
      problem: problems[name],
      testId: `lc-search-${name}`,
      onChange: (text) => {
        // What runs is what is shown: fields of a search that is going on stay as they are.
        if (!isRunning) play.lab.editSearch({ [name]: text });
      },
    }),
  );
}

function controls(state: State, spec: DecoderSpec, reading: SearchReading, play: Playground): TemplateResult {
  const { status, saved } = state.lab.search;
  if (status.kind === "running") {
    return html`${button({
      label: status.stopping ? "Stopping…" : "Stop",
      disabled: status.stopping,
      title: "What was judged is kept",
      testId: "lc-search-stop",
      onClick: play.lab.stopSearch,
    })}`;
  }
  const request = "request" in reading ? reading.request : undefined;
  const isBusy = busyWith(state) !== undefined;
  const problem = saved && request ? resumeProblem(saved, request, spec) : undefined;
  const isOver = saved !== undefined && request !== undefined && isFinishedAt(saved, request.options.iterations);
  const start = (resume: boolean) => () => {
    if (request) play.lab.search(request, resume);
  };
  return html`${
    saved
      ? button({
          label: "Resume",
          disabled: isBusy || request === undefined || problem !== undefined || isOver,
          title: problem ?? (isOver ? "It is over; more generations go on from here" : "Goes on from what was judged"),
          testId: "lc-search-resume",
          onClick: start(true),
        })
      : nothing
  }
  ${button({
    label: saved ? "Search anew" : "Search",
    disabled: isBusy || request === undefined,
    title: isBusy ? "The engine does one thing at a time" : "Runs on this machine, on the workspace's files",
    testId: "lc-search-start",
    onClick: start(false),
  })}`;
}

function isFinishedAt(saved: NonNullable<SearchView["saved"]>, iterations: number): boolean {
  return isFinished({ ...saved.search, options: { ...saved.search.options, iterations } });
}

function statusLine({ status, progress }: SearchView): TemplateResult | typeof nothing {
  switch (status.kind) {
    case "idle":
      return nothing;
    case "failed":
      return html`<p class="problem" role="alert">${sentence(status.error.message)} ${sentence(status.error.remedy)}</p>`;
    case "running": {
      const far = progress
        ? `generation ${progress.generation} of ${progress.generations}, list ${exact(progress.judged)} of ${exact(progress.planned)}`
        : "before the first list";
      return html`<div class="actions">
        ${progressBar(progress?.judged ?? 0, progress?.planned ?? 1, "LongRoPE search")}
        <span>${far} · ${status.doing} ${percent(status.fraction)}</span>
      </div>`;
    }
  }
}

/** Of the running search, or of the saved one. */
function results({ progress, saved, status }: SearchView, spec: DecoderSpec, play: Playground): TemplateResult | typeof nothing {
  const found = saved && searchedBest(saved, spec);
  const best = status.kind === "running" ? progress?.best : found?.perplexity;
  const base = status.kind === "running" ? progress : saved;
  if (best === undefined || base === undefined) return nothing;
  const row = (name: string, perplexity: number, testId: string): TemplateResult =>
    html`<tr>
      <th scope="row">${name}</th>
      <td data-testid=${testId}>${perplexity.toPrecision(5)}</td>
    </tr>`;
  return html`<table class="numbers">
      <caption class="dim">
        Perplexity on your files (lower is better)${saved ? ` at ${exact(saved.targetTokens)} tokens` : ""}
      </caption>
      <tbody>
        ${row("without scaling", base.plain, "lc-search-plain")} ${row("YaRN", base.yarn, "lc-search-yarn")}
        ${row("best factors", best, "lc-search-best")}
      </tbody>
    </table>
    ${
      status.kind === "running" || !found
        ? nothing
        : html`<div class="actions">
            ${button({ label: "Use result", onClick: play.lab.useSearched, testId: "lc-search-use" })}
            ${button({ label: "Export JSON…", onClick: play.lab.exportSearched, testId: "lc-search-export" })}
          </div>`
    }`;
}

function judgedLists({ progress, saved }: SearchView): number {
  return progress?.judged ?? (saved ? countOf(saved.search).judged : 0);
}
