/** The RoPE lab: kind, exactly its fields, the wavelength curve, and how far the setting reaches. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { DecoderSpec } from "../../engine/api.ts";
import { label } from "../../engine/position/limits.ts";
import { isRotating, trainedLength } from "../../engine/position/scaling.ts";
import { button, checkbox, textField, textList } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import { curveData, shownDistances } from "../state/curveData.ts";
import type { CurveData, ShownDistance } from "../state/curveData.ts";
import { openSpec, windowFacts } from "../state/derived.ts";
import type { WindowFacts } from "../state/derived.ts";
import { factorsFromYarn, readRopeDraft, ropeDraft, ropeFields } from "../state/ropeDraft.ts";
import type { RopeDraft, RopeField } from "../state/ropeDraft.ts";
import type { State } from "../state/store.ts";
import { exact } from "../state/words.ts";
import { unrotatedPositions } from "./positions.ts";
import { ropeKindField } from "./ropeKind.ts";
import { previewPanel } from "./ropePreview.ts";
import { searchPanel } from "./ropeSearch.ts";

export function ropeLab(state: State, play: Playground): TemplateResult {
  const spec = openSpec(state);
  const { settings } = state;
  if (!spec || !settings) {
    return html`<section class="lab" aria-label="RoPE scaling">
      <h3>RoPE scaling</h3>
      <p class="dim">The settings open with the model: they depend on its frequencies.</p>
    </section>`;
  }
  if (!isRotating(spec)) return unrotatedPositions(state, spec, settings.rope, play);
  const draft = state.ropeDraft ?? ropeDraft(settings.rope);
  const reading = readRopeDraft(draft, spec);
  const problems = "problems" in reading ? reading.problems : {};
  const facts = windowFacts(state);
  return html`<section class="lab" aria-label="RoPE scaling">
    <h3>RoPE scaling</h3>
    <div class="fields">
      ${ropeKindField(draft.kind, spec, play, "lc-rope-kind")}
      ${ropeFields[draft.kind].map((field) => fieldControl(field, draft, problems[field.name], play))}
    </div>
    ${draft.kind === "longrope" ? fillFromYarn(draft, spec, play) : nothing}
    ${problems[""] ? html`<p class="problem" role="alert">${problems[""]}</p>` : nothing}
    <p class="dim" role="status">
      ${"problems" in reading ? "Not saved: the last readable setting stays in force." : "Saved. It applies to the next run."}
    </p>
    ${draft.kind === "longrope" ? searchPanel(state, spec, play) : nothing} ${previewPanel(state, play, !("problems" in reading))}
    ${facts && "limit" in facts ? reach(facts, spec) : html`<p class="problem">${facts?.problem}</p>`}
  </section>`;
}

function fieldControl(field: RopeField, draft: RopeDraft, problem: string | undefined, play: Playground): TemplateResult {
  const value = draft.text[field.name] ?? "";
  const change = (text: string): void => {
    play.editRope({ ...draft, text: { ...draft.text, [field.name]: text } });
  };
  const common = { label: field.label, help: field.help, testId: `lc-rope-${field.name}` };
  switch (field.type) {
    case "switch":
      return checkbox({
        ...common,
        checked: value === "true",
        onChange: (checked) => {
          change(String(checked));
        },
      });
    case "list":
      return textList({ ...common, value, problem, onChange: change });
    case "number":
    case "optional number":
      return textField({
        ...common,
        value,
        problem,
        onChange: change,
        placeholder: field.empty ?? "",
      });
  }
}

function fillFromYarn(draft: RopeDraft, spec: DecoderSpec, play: Playground): TemplateResult {
  return button({
    label: "Fill long factors from YaRN",
    title: "The search of LongRoPE starts from these",
    testId: "lc-rope-fill",
    onClick: () => {
      const stretch = Number(draft.text["factor"]);
      const original = Number(draft.text["originalContext"]);
      const factors = factorsFromYarn(spec, stretch >= 1 ? stretch : 2, original >= 1 ? original : trainedLength(spec));
      play.editRope({ ...draft, text: { ...draft.text, longFactor: factors.join(", ") } });
    },
  });
}

/** The curve of the scaling in force, and its numbers in words and as a table. */
function reach(facts: WindowFacts, spec: DecoderSpec): TemplateResult {
  const { limit } = facts;
  const lengthTokens = facts.usedTokens + facts.reservedTokens;
  const curve = curveData(spec, facts.rope, lengthTokens);
  const distances = shownDistances(spec, facts.rope, lengthTokens);
  return html`<p>
      <strong>${label(facts.rope)}: ${exact(limit.tokens)} tokens</strong> (${limit.because}). ${limit.explanation} Attention
      factor ${curve.attentionFactor.toFixed(4)}.
    </p>
    ${distances ? distanceTable(distances, curve.trainedTokens) : nothing}
    <lc-curve .data=${curve} role="img" aria-label=${curveSummary(curve)}></lc-curve>
    <p class="dim">${curveWords(curve)}</p>
    ${unrotatedLayers(spec)}
    <details>
      <summary>Wavelengths as a table</summary>
      ${curveTable(curve)}
    </details>`;
}

function curveWords({ unfinishedPairs, stillPairs, own, local }: CurveData): string {
  return [
    "Each pair of dimensions turns once per wavelength. Pairs above the trained length never finished a turn in training",
    `(${unfinishedPairs} of ${own.length}): past it they meet angles they have not seen, unless a scaling slows them.`,
    ...(stillPairs > 0 ? [`${stillPairs} pairs do not turn at all and have no place on the curve.`] : []),
    ...(local ? ["Layers with a window turn at their own wavelengths, which no setting changes."] : []),
  ].join(" ");
}

/** Layers that know no positions but the order that the causal mask gives. */
function unrotatedLayers({ layers }: DecoderSpec): TemplateResult | typeof nothing {
  const still = layers.flatMap(({ rotation }, layer) => (rotation === "none" ? [layer] : []));
  if (still.length === 0) return nothing;
  return html`<p class="dim">
    ${still.length} of ${layers.length} layers (${still.join(", ")}) do not rotate at all: a scaling does not reach them.
  </p>`;
}

/** What re-indexing makes of distances, from the last token of the prompt on. */
function distanceTable(distances: readonly ShownDistance[], trainedTokens: number): TemplateResult {
  const farthest = Math.max(...distances.map(({ shown }) => shown));
  return html`<p>
      The model's own frequencies stay; keys are shown at other distances, none above ${exact(Math.ceil(farthest))} in this prompt
      (trained on ${exact(trainedTokens)}).
    </p>
    <details>
      <summary>Distances as a table</summary>
      <div class="scroll">
        <table class="numbers" data-testid="lc-rope-distances">
          <thead>
            <tr>
              <th scope="col">Tokens back</th>
              <th scope="col">Shown as</th>
            </tr>
          </thead>
          <tbody>
            ${distances.map(
              ({ tokens, shown }) =>
                html`<tr>
                  <th scope="row">${exact(tokens)}</th>
                  <td>${exact(Math.round(shown * 10) / 10)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </details>`;
}

function curveSummary(curve: CurveData): string {
  const last = curve.own.length - 1;
  return `Wavelength per pair, from ${turnTokens(curve.own[0])} to ${turnTokens(curve.own[last])} tokens in the model and to ${turnTokens(curve.chosen[last])} as chosen; trained on ${exact(curve.trainedTokens)}, this prompt ${exact(curve.promptTokens)}`;
}

function turnTokens(tokens: number | undefined): string {
  return tokens === Infinity ? "endlessly many" : exact(Math.round(tokens ?? 0));
}

function curveTable(curve: CurveData): TemplateResult {
  const tokens = (value: number | undefined): string => {
    if (value === undefined) return "–";
    return value === Infinity ? "∞ (does not turn)" : value.toFixed(1);
  };
  const stretch = (pair: number): string => {
    const [own, chosen] = [curve.own[pair], curve.chosen[pair]];
    if (own === undefined || chosen === undefined) return "–";
    if (own === chosen) return "1.000";
    return chosen === Infinity ? "∞" : (chosen / own).toFixed(3);
  };
  return html`<div class="scroll">
    <table class="numbers" data-testid="lc-rope-wavelengths">
      <thead>
        <tr>
          <th scope="col">Pair</th>
          <th scope="col">Model's own, tokens</th>
          <th scope="col">Chosen, tokens</th>
          <th scope="col">Stretch</th>
          ${curve.local ? html`<th scope="col">Window layers, tokens</th>` : nothing}
        </tr>
      </thead>
      <tbody>
        ${curve.pairs.map(
          (pair) =>
            html`<tr>
              <th scope="row">${pair}</th>
              <td>${tokens(curve.own[pair])}</td>
              <td>${tokens(curve.chosen[pair])}</td>
              <td>${stretch(pair)}</td>
              ${curve.local ? html`<td>${tokens(curve.local[pair])}</td>` : nothing}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
