/** The RoPE lab: kind, exactly its fields, the wavelength curve, and how far the setting reaches. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { ModelSpec } from "../../engine/api.ts";
import { label } from "../../engine/position/limits.ts";
import { trainedLength } from "../../engine/position/scaling.ts";
import { button, checkbox, dropdown, textField, textList } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import { curveData } from "../state/curveData.ts";
import type { CurveData } from "../state/curveData.ts";
import { openSpec, windowFacts } from "../state/derived.ts";
import type { WindowFacts } from "../state/derived.ts";
import {
  defaultRope,
  factorsFromYarn,
  readRopeDraft,
  ropeDraft,
  ropeFields,
  ropeKindOrder,
  ropeLabels,
} from "../state/ropeDraft.ts";
import type { RopeDraft, RopeField, RopeKind } from "../state/ropeDraft.ts";
import type { State } from "../state/store.ts";
import { exact } from "../state/words.ts";

export function ropeLab(state: State, play: Playground): TemplateResult {
  const spec = openSpec(state);
  const { settings } = state;
  if (!spec || !settings) {
    return html`<section class="lab" aria-label="RoPE scaling">
      <h3>RoPE scaling</h3>
      <p class="dim">The settings open with the model: they depend on its frequencies.</p>
    </section>`;
  }
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
    ${facts && "limit" in facts ? reach(facts, spec) : html`<p class="problem">${facts?.problem}</p>`}
  </section>`;
}

/** The list of kinds, used by the lab and by the header's chip. */
export function ropeKindField(
  kind: RopeKind,
  spec: ModelSpec | undefined,
  play: Playground,
  testId = "lc-chip-rope-kind",
): TemplateResult {
  return dropdown<RopeKind>({
    label: "Kind",
    value: kind,
    testId,
    disabled: !spec,
    options: ropeKindOrder.map((value) => ({ value, text: ropeLabels[value] })),
    onChange: (chosen) => {
      if (spec) play.editRope(ropeDraft(defaultRope(chosen, spec)));
    },
  });
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
        placeholder: field.type === "number" ? "" : "from the formula",
      });
  }
}

function fillFromYarn(draft: RopeDraft, spec: ModelSpec, play: Playground): TemplateResult {
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
function reach(facts: WindowFacts, spec: ModelSpec): TemplateResult {
  const { limit } = facts;
  const curve = curveData(spec, facts.rope, facts.usedTokens + facts.reservedTokens);
  return html`<p>
      <strong>${label(facts.rope)}: ${exact(limit.tokens)} tokens</strong> (${limit.because}). ${limit.explanation} Attention
      factor ${curve.attentionFactor.toFixed(4)}.
    </p>
    <lc-curve .data=${curve} role="img" aria-label=${curveSummary(curve)}></lc-curve>
    <p class="dim">
      Each pair of dimensions turns once per wavelength. Pairs above the trained length never finished a turn in training
      (${curve.unfinishedPairs} of ${curve.pairs.length}): past it they meet angles they have not seen, unless a scaling slows
      them.
    </p>
    <details>
      <summary>Wavelengths as a table</summary>
      ${curveTable(curve)}
    </details>`;
}

function curveSummary(curve: CurveData): string {
  const last = curve.pairs.length - 1;
  return `Wavelength per pair, from ${exact(Math.round(curve.own[0] ?? 0))} to ${exact(Math.round(curve.own[last] ?? 0))} tokens in the model and to ${exact(Math.round(curve.chosen[last] ?? 0))} as chosen; trained on ${exact(curve.trainedTokens)}, this prompt ${exact(curve.promptTokens)}`;
}

function curveTable(curve: CurveData): TemplateResult {
  const tokens = (value: number | undefined): string => (value ?? 0).toFixed(1);
  return html`<div class="scroll">
    <table class="numbers">
      <thead>
        <tr>
          <th scope="col">Pair</th>
          <th scope="col">Model's own, tokens</th>
          <th scope="col">Chosen, tokens</th>
          <th scope="col">Stretch</th>
        </tr>
      </thead>
      <tbody>
        ${curve.pairs.map(
          (pair) =>
            html`<tr>
              <th scope="row">${pair}</th>
              <td>${tokens(curve.own[pair])}</td>
              <td>${tokens(curve.chosen[pair])}</td>
              <td>${((curve.chosen[pair] ?? 0) / (curve.own[pair] ?? 1)).toFixed(3)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
