/** Instead of the RoPE lab for models that do not rotate: where their positions come from, and how far they may read. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { DecoderSpec, ModelSpec, RecurrentSpec, RopeChoice } from "../../engine/api.ts";
import { trainedLength } from "../../engine/position/scaling.ts";
import type { Playground } from "../playground.ts";
import { windowFacts } from "../state/derived.ts";
import { slopeRows, stateNumbers } from "../state/positions.ts";
import type { State } from "../state/store.ts";
import { exact, mebibytes, plural } from "../state/words.ts";
import { ropeKindField } from "./ropeKind.ts";

export function unrotatedPositions(state: State, spec: ModelSpec, setting: RopeChoice, play: Playground): TemplateResult {
  const facts = windowFacts(state);
  return html`<section class="lab" aria-label="Positions" data-testid="lc-positions" data-kind=${spec.kind}>
    <h3>Positions</h3>
    ${spec.kind === "decoder" ? alibiWords(spec) : stateWords(spec)}
    <div class="fields">${ropeKindField(setting.kind, spec, play, "lc-rope-kind")}</div>
    <p class="dim">
      Nothing here can be scaled. <em>model</em> stops at the ${exact(trainedLength(spec))} tokens of its training, <em>auto</em>
      reads on past them.
    </p>
    ${facts && "limit" in facts ? html`<p>${facts.limit.explanation}</p>` : html`<p class="problem">${facts?.problem}</p>`}
    ${spec.kind === "decoder" ? slopeTable(spec) : nothing}
  </section>`;
}

function alibiWords(spec: DecoderSpec): TemplateResult {
  return html`<p>
    <strong>${spec.modelType} has no rotation.</strong> Its positions come from linear biases on the attention scores (ALiBi): in
    every head a score loses slope × distance, so steep heads look near and flat ones far, at any length.
  </p>`;
}

function stateWords(spec: RecurrentSpec): TemplateResult {
  const numbers = stateNumbers(spec);
  return html`<p>
    <strong>${spec.modelType} has no rotation and no positions.</strong> The order of tokens is in the state that each of its
    ${plural(spec.layerCount, "layer")} carries along: ${exact(numbers)} numbers in all, ${mebibytes(4 * numbers)} in f32, the
    same after ten tokens as after a million.
  </p>`;
}

function slopeTable(spec: DecoderSpec): TemplateResult {
  const rows = slopeRows(spec);
  const steepest = Math.max(...rows.map(({ slope }) => slope));
  return html`<div class="scroll">
    <table class="numbers" data-testid="lc-alibi-slopes">
      <caption class="dim">
        Slopes, and the distance at which the bias alone halves a weight
      </caption>
      <thead>
        <tr>
          <th scope="col">Head</th>
          <th scope="col">Slope</th>
          <th scope="col">Halves after, tokens</th>
          <th scope="col" aria-hidden="true"></th>
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ({ head, slope, halvingTokens }) =>
            html`<tr>
              <th scope="row">${head}</th>
              <td>${slope.toPrecision(3)}</td>
              <td>${halvingTokens < 10 ? halvingTokens.toFixed(1) : exact(Math.round(halvingTokens))}</td>
              <td aria-hidden="true"><meter class="slope" min="0" max="1" value=${slope / steepest}></meter></td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
