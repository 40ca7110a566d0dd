/** The answer: text only, with its citations, where the model looked, and what it cost. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { PackRow } from "../../engine/api.ts";
import type { AskResult, Citation, FileAttention } from "../../engine/generate/api.ts";
import { formatAttention } from "../../engine/attention/policy.ts";
import { label } from "../../engine/position/limits.ts";
import { shareBar } from "../components/bars.ts";
import { button } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import type { SavedRun } from "../protocol/panel.ts";
import type { LiveRun } from "../state/store.ts";
import { duration, exact, percent, plural } from "../state/words.ts";
import { cacheErrorLine, denseScoresLine, keptMassLine, ringLines } from "./attention.ts";
import { backendName } from "./header.ts";
import { attendedLines, proseLine } from "./spans.ts";

/** What has been streamed so far; the box has its final place from the first token on. */
export function liveAnswer(live: LiveRun): TemplateResult {
  return html`<article class="answer-block">
    <h2>${live.question}</h2>
    <pre class="answer" data-testid="lc-answer" data-live="true" aria-busy="true">${live.text}</pre>
  </article>`;
}

export function answer(run: SavedRun, play: Playground): TemplateResult {
  const { result } = run;
  return html`<article class="answer-block" data-run=${run.id}>
    <h2>${result.question}</h2>
    ${result.absent ? nothing : proseLine(result.prose)}
    ${
      result.absent
        ? html`<p class="answer absent" data-testid="lc-answer" data-absent="true">
            ${result.prose || "The model says that the answer is not in these files."}
          </p>`
        : html`<pre class="answer" data-testid="lc-answer">${result.answer}</pre>`
    }
    ${result.stoppedBy === "end" ? nothing : html`<p class="dim">${stopText(result)}</p>`} ${citations(result, play)}
    ${attendedLines(result, play)} ${lookedAt(result.lookedAt)}
    <p class="meta">${cost(result)}</p>
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
    <p class="actions">
      ${button({ label: "Inspect attention", onClick: play.inspectAttention, testId: "lc-inspect" })}
      ${button({ label: "Copy", onClick: play.copyAnswer, testId: "lc-copy" })}
    </p>
    ${leftOut(result.rows)}
  </article>`;
}

/** Files that did not go in, each with its reason. */
export function leftOut(rows: readonly PackRow[]): TemplateResult | typeof nothing {
  const out = rows.filter((row) => !row.included);
  if (out.length === 0) return nothing;
  return html`<details class="rows" data-testid="lc-left-out">
    <summary>${plural(out.length, "file")} not included</summary>
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
              <td>${row.path}</td>
              <td class="number">${exact(row.tokens)}</td>
              <td>${row.reason}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </details>`;
}

function citations(result: AskResult, play: Playground): TemplateResult | typeof nothing {
  const places = result.citations;
  if (places.length === 0) {
    return result.absent ? nothing : html`<p class="dim">No citation: nothing of this answer was found in the files.</p>`;
  }
  const quotes = new Set(places.filter((place) => place.verified).map((place) => place.quote));
  const several = places.filter((place) => place.verified).length > quotes.size;
  return html`<ol class="citations" aria-label="Citations">
      ${places.map((citation, index) => html`<li>${citationChip(citation, index, play)}</li>`)}
    </ol>
    ${several ? html`<p class="dim">The quote stands in several places; all are listed, the ones the answer attended to most first.</p>` : nothing}`;
}

function citationChip(citation: Citation, index: number, play: Playground): TemplateResult {
  const lines = citation.endLine > citation.startLine ? `${citation.startLine}-${citation.endLine}` : `${citation.startLine}`;
  const share =
    citation.attention === undefined ? nothing : html`<span class="dim">${percent(citation.attention)} of attention</span>`;
  return html`<button
      class="citation ${citation.verified ? "verified" : "unverified"}"
      data-testid="lc-citation"
      data-path=${citation.path}
      data-line=${citation.startLine}
      data-verified=${citation.verified ? "true" : "false"}
      title=${citation.verified ? "Found word for word at these lines; opens them" : "The model looked here, but did not quote it; opens the lines"}
      @click=${() => {
        play.reveal(citation);
      }}
    >
      <span aria-hidden="true">${circled(index)}</span> ${citation.path}:${lines}
      <span class="mark">${citation.verified ? "✓ quote" : "attended, not quoted"}</span>
    </button>
    ${share}
    <code class="quote">${citation.quote}</code>`;
}

function lookedAt(files: readonly FileAttention[]): TemplateResult | typeof nothing {
  if (files.length === 0) return nothing;
  return html`<div class="looked">
    <h3 title="Share of the answer's attention per file: where the model looked, not proof">Looked at</h3>
    <ul>
      ${files
        .slice(0, 8)
        .map(
          ({ path, share }) =>
            html`<li>
              <span class="path" title=${path}>${path}</span>${shareBar(share)}<span class="number">${percent(share)}</span>
            </li>`,
        )}
    </ul>
  </div>`;
}

function stopText({ stoppedBy }: AskResult): string {
  return stoppedBy === "length"
    ? "Cut at the largest answer length; raise it in Inspect."
    : "Stopped by you; this is what was written until then.";
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
