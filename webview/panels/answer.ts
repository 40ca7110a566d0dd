/** The answer: text only, with its citations, where the model looked, and what it cost. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { AskResult, Citation, FileAttention } from "../../engine/generate/api.ts";
import { formatAttention } from "../../engine/attention/policy.ts";
import { missingRows, missingText, missingTokens, type PackRow } from "../../engine/pack/api.ts";
import { label } from "../../engine/position/limits.ts";
import { shareBar } from "../components/bars.ts";
import type { Playground } from "../playground.ts";
import type { SavedRun } from "../protocol/panel.ts";
import type { LiveRun, State } from "../state/store.ts";
import { backendName, duration, exact, percent, placeText, plural, stopText } from "../state/words.ts";
import { answerActions } from "./answerActions.ts";
import { cacheErrorLine, denseScoresLine, keptMassLine, ringLines } from "./attention.ts";
import { runSettings } from "./runs.ts";
import { attendedLines, proseLine } from "./spans.ts";

/** What has been streamed so far; the box has its final place from the first token on, and the finished answer stays in it. */
export function liveAnswer({ question, text }: LiveRun): TemplateResult {
  return answerBlock({ question, text, kind: "live" });
}

export function answer(run: SavedRun, state: State, play: Playground): TemplateResult {
  const { result } = run;
  const stopped = stopText(result);
  return answerBlock({
    question: result.question,
    prose: result.absent ? "" : result.prose,
    text: result.absent ? result.prose || "The model says that the answer is not in these files." : result.answer,
    kind: result.absent ? "absent" : "finished",
    runId: run.id,
    details: html`${stopped === undefined ? nothing : html`<p class="dim">${stopped}</p>`} ${citations(result, state, play)}
      ${answerActions(run, state, play)} ${attendedLines(result, play)} ${lookedAt(result.lookedAt)}
      <p class="meta" dir="auto">${cost(result)}</p>
      ${keptMassLine(result, "lc-kept-mass")} ${cacheErrorLine(result, "lc-cache-error")} ${ringLines(result)}
      ${denseScoresLine(result, "lc-dense-scores")}
      <p class="meta">
        <span data-testid="lc-reused" data-tokens=${result.reusedTokens}
          >${
            result.reusedTokens > 0
              ? `reused ${exact(result.reusedTokens)} tokens (not recomputed)${result.restoredTokens > 0 ? `, ${exact(result.restoredTokens)} of them from an earlier session` : ""}`
              : "nothing was cached: the whole prompt was computed"
          }</span
        >
      </p>
      ${runSettings(run)} ${leftOut(result.rows)}`,
  });
}

interface AnswerBlock {
  question: string;
  /** Sentences in front of the text. */
  prose?: string;
  text: string;
  kind: "live" | "finished" | "absent";
  runId?: string;
  details?: TemplateResult;
}

/** One template for the answer in every state: its text is not drawn again when the run ends, and the keyboard stays where it is. */
function answerBlock({ question, prose = "", text, kind, runId, details }: AnswerBlock): TemplateResult {
  return html`<article class="answer-block" data-run=${runId ?? nothing}>
    <h2 dir="auto">${question}</h2>
    ${proseLine(prose)}
    <lc-text
      id="answer"
      class="answer ${kind}"
      role="region"
      aria-label="Answer"
      aria-busy=${kind === "live" ? "true" : "false"}
      tabindex="0"
      data-testid="lc-answer"
      data-live=${kind === "live" ? "true" : nothing}
      data-absent=${kind === "absent" ? "true" : nothing}
      .text=${text}
    ></lc-text>
    ${details ?? nothing}
  </article>`;
}

/** Files that did not go in, or only in part, each with its reason and the tokens that are missing. */
export function leftOut(rows: readonly PackRow[]): TemplateResult | typeof nothing {
  const out = missingRows(rows);
  if (out.length === 0) return nothing;
  return html`<details class="rows" data-testid="lc-left-out">
    <summary>${missingText(out)}</summary>
    <table>
      <thead>
        <tr>
          <th scope="col">File</th>
          <th scope="col" class="number">Tokens</th>
          <th scope="col">Why</th>
        </tr>
      </thead>
      <tbody>
        ${out.map(
          (row) =>
            html`<tr>
              <td><bdi>${row.path}</bdi></td>
              <td class="number">${exact(missingTokens(row))}</td>
              <td>${row.reason}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </details>`;
}

function citations(result: AskResult, state: State, play: Playground): TemplateResult | typeof nothing {
  const places = result.citations;
  if (places.length === 0) {
    return result.absent ? nothing : html`<p class="dim">No citation: nothing of this answer was found in the files.</p>`;
  }
  const quotes = new Set(places.filter((place) => place.verified).map((place) => place.quote));
  const several = places.filter((place) => place.verified).length > quotes.size;
  return html`<ol class="citations" aria-label="Citations">
      ${places.map((citation, index) => html`<li>${citationChip(citation, index, state.answer.citation === index, play)}</li>`)}
    </ol>
    ${several ? html`<p class="dim">The quote stands in several places; all are listed, the ones the answer attended to most first.</p>` : nothing}`;
}

function citationChip(citation: Citation, index: number, isOpen: boolean, play: Playground): TemplateResult {
  const { path, startLine, verified, attention, quote } = citation;
  const share = attention === undefined ? nothing : html`<span class="dim">${percent(attention)} of attention</span>`;
  const lines = placeText(citation).slice(path.length);
  return html`<button
      class="citation ${verified ? "verified" : "unverified"}"
      data-testid="lc-citation"
      data-path=${path}
      data-line=${startLine}
      data-verified=${verified ? "true" : "false"}
      aria-current=${isOpen ? "true" : "false"}
      title=${verified ? "Found word for word at these lines; opens them" : "The model looked here, but did not quote it; opens the lines"}
      ?disabled=${path === ""}
      @click=${() => {
        play.answers.open(index);
      }}
    >
      <span aria-hidden="true">${circled(index)}</span> <bdi>${path}</bdi>${lines}
      <span class="mark">${verified ? "✓ quote" : startLine > 0 ? "attended, not quoted" : "not found in the files"}</span>
    </button>
    ${share}
    <code class="quote" dir="auto">${quote}</code>`;
}

function lookedAt(files: readonly FileAttention[]): TemplateResult | typeof nothing {
  if (files.length === 0) return nothing;
  return html`<div class="looked">
    <h3 title="Share of the answer's attention per file: where the model looked, not proof">Looked at</h3>
    <ul>
      ${files.slice(0, 8).map(
        ({ path, share }) =>
          html`<li>
            <span class="path" title=${path}><bdi>${path}</bdi></span
            >${shareBar(share)}<span class="number">${percent(share)}</span>
          </li>`,
      )}
    </ul>
  </div>`;
}

function cost(result: AskResult): string {
  const { packMs, prefillMs, decodeMs } = result.timings;
  const times = `packed in ${duration(packMs)}, prefilled in ${duration(prefillMs)}, ${plural(result.answerTokens, "token")} written in ${duration(decodeMs)}`;
  const attention = result.attention && formatAttention(result.attention);
  return [backendName(result), result.device, label(result.rope), ...(attention === undefined ? [] : [attention]), times].join(
    " · ",
  );
}

/** ① to ⑳, then (21). */
function circled(index: number): string {
  return index < 20 ? String.fromCodePoint(0x2460 + index) : `(${index + 1})`;
}
