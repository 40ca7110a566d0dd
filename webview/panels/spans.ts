/** What stands around the quotes of an answer: sentences in front of them, and the lines that drew its attention, which are no evidence. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { AskResult, Attended, AttendedPrecision } from "../../engine/generate/api.ts";
import type { Playground } from "../playground.ts";
import { exact, percent } from "../state/words.ts";

/** Plain text in which every second piece between backticks is code. */
export function proseLine(prose: string): TemplateResult | typeof nothing {
  if (prose === "") return nothing;
  const pieces = prose.split("`").map((piece, i) => (i % 2 === 1 ? html`<code>${piece}</code>` : piece));
  return html`<p class="prose" data-testid="lc-prose">${pieces}</p>`;
}

/** Links to the lines that drew most of the answer's attention; nothing for a model without attention. */
export function attendedLines(result: AskResult, play: Pick<Playground, "reveal">): TemplateResult | typeof nothing {
  const { attended, attendedPrecision } = result;
  if (attended.length === 0) return nothing;
  return html`<div class="attended-lines" data-testid="lc-attended">
    <h3 title=${attendedPrecision?.command ?? "Where the answer's attention fell: where the model looked, not proof"}>
      Attended, which is no evidence: ${precisionText(attendedPrecision)}
    </h3>
    <ul class="citations">
      ${attended.map((lines) => html`<li>${attendedLink(lines, play)}</li>`)}
    </ul>
  </div>`;
}

/** How far these lines can be trusted to hold the answer, as it was measured. */
export function precisionText(precision: AttendedPrecision | undefined): string {
  if (precision === undefined) return "precision not measured for this model";
  const { hits, asked, contextTokens } = precision;
  return `${exact(hits)} of ${exact(asked)} test answers (${percent(hits / asked)}) stood in such lines, at ${exact(contextTokens)} tokens`;
}

function attendedLink(lines: Attended, play: Pick<Playground, "reveal">): TemplateResult {
  const { path, startLine, endLine, share, quote } = lines;
  const place = endLine > startLine ? `${path}:${startLine}-${endLine}` : `${path}:${startLine}`;
  return html`<button
      class="citation attended"
      data-testid="lc-attended-link"
      data-path=${path}
      data-line=${startLine}
      title="The answer's attention fell here; opens the lines"
      @click=${() => {
        play.reveal(lines);
      }}
    >
      ${place} <span class="mark">attended</span>
    </button>
    <span class="dim">${percent(share)} of attention on lines</span>
    <code class="quote">${quote.split("\n")[0]?.trim() ?? ""}${endLine > startLine ? " …" : ""}</code>`;
}
