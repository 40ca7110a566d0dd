/** The attention settings: a policy with exactly its fields, how answers are decoded, how keys and values are cached, and what that costs. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { SessionInfo } from "../../engine/api.ts";
import type { KvFormat, KvFormats } from "../../engine/attention/api.ts";
import { cacheErrorText, denseScoresText, keptMassText } from "../../engine/attention/costText.ts";
import { formatAttention } from "../../engine/attention/policy.ts";
import { policyRow } from "../../engine/attention/policyTable.ts";
import { ringStepLines, ringText } from "../../engine/attention/ring/reportText.ts";
import type { PolicyField } from "../../engine/attention/policyTable.ts";
import { formatKvFormats, kvFormats } from "../../engine/kv-cache/kvFormats.ts";
import type { AskResult } from "../../engine/generate/api.ts";
import { dropdown, textField } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import type { PanelSettings } from "../protocol/panel.ts";
import { attentionDraft, attentionRows, draftOfKind, pagesRow, rangeText, readAttentionDraft } from "../state/attentionDraft.ts";
import type { AttentionDraft, AttentionKind } from "../state/attentionDraft.ts";
import { attentionProblem } from "../state/attentionFacts.ts";
import { attentionPlan } from "./attentionPlan.ts";
import { shownRun } from "../state/store.ts";
import type { State } from "../state/store.ts";
import { sentence } from "../state/words.ts";

/** The section of Inspect. */
export function attentionPanel(state: State, play: Playground): TemplateResult {
  return html`<section class="lab" aria-label="Attention">
    <h3>Attention</h3>
    ${attentionSettings(state, play, "lc-inspect-attention")} ${isDecoder(state) ? attentionPlan(state, play) : nothing}
  </section>`;
}

function isDecoder({ engine }: State): boolean {
  return engine.status !== "ready" || engine.info.spec.kind === "decoder";
}

/** Drawn in the header's drawer and in Inspect; `prefix` tells their controls apart. */
export function attentionSettings(state: State, play: Playground, prefix = "lc-attention"): TemplateResult {
  const { settings, engine } = state;
  if (!settings) return html`<p class="dim">The settings are being read.</p>`;
  const info = engine.status === "ready" ? engine.info : undefined;
  if (info && info.spec.kind !== "decoder") {
    return html`<p>
      ${info.spec.modelType} has no attention and caches no keys and values: its state has the same size at any length. What is
      set here waits for a model that has them.
    </p>`;
  }
  const draft = state.attentionDraft ?? attentionDraft(settings.attention);
  const reading = readAttentionDraft(draft);
  const problems = "problems" in reading ? reading.problems : {};
  const refused = "choice" in reading ? attentionProblem(reading.choice, info) : undefined;
  return html`<div class="fields">
      ${kindField(draft, play, prefix)}
      ${policyRow(draft.kind).fields.map((field) => valueField(field, draft, problems, play, prefix))}
      ${pagesField(draft, problems, play, prefix)} ${cacheFields(settings, play, prefix)}
    </div>
    ${problems[""] ? html`<p class="problem" role="alert">${sentence(problems[""])}</p>` : nothing}
    ${refused ? html`<p class="problem" role="alert" data-testid="${prefix}-refused">${sentence(refused)}</p>` : nothing}
    <p class="dim" role="status">
      ${"problems" in reading ? "Not saved: the last readable setting stays in force." : "Saved. It applies to the next run; another cache format opens the engine anew."}
    </p>
    ${meaning(draft, prefix)} ${cacheWords(settings.kv, info)} ${lastRun(state, prefix)}`;
}

/** What a pattern kept of the exact attention; nothing where it left nothing out. */
export function keptMassLine({ keptMass, attention }: AskResult, testId: string): TemplateResult | typeof nothing {
  if (!keptMass || !attention) return nothing;
  return html`<p class="meta" data-testid=${testId} data-mean=${keptMass.mean} data-least=${keptMass.least}>
    ${formatAttention(attention)} kept ${keptMassText(keptMass)}.
  </p>`;
}

/** How far the cached keys and values are from f32; nothing where the formats do not round. */
export function cacheErrorLine({ cacheError, kv }: AskResult, testId: string): TemplateResult | typeof nothing {
  if (!cacheError || !kv) return nothing;
  return html`<p class="meta" data-testid=${testId} data-keys=${cacheError.keys} data-values=${cacheError.values}>
    Cached in ${formatKvFormats(kv)}: off f32 by ${cacheErrorText(cacheError)} (relative RMS).
  </p>`;
}

/** What dense attention held on the device; nothing for other policies. */
export function denseScoresLine({ denseScores }: AskResult, testId: string): TemplateResult | typeof nothing {
  if (!denseScores) return nothing;
  return html`<p class="meta" data-testid=${testId} data-bytes=${denseScores.atOnce}>
    ${sentence(denseScoresText(denseScores))}
  </p>`;
}

/** How a ring of workers read the prompt, step by step on demand; nothing where none did. */
export function ringLines({ ring }: AskResult): TemplateResult | typeof nothing {
  if (!ring) return nothing;
  return html`<p class="meta" data-testid="lc-ring">${sentence(ringText(ring))}</p>
    <details class="meta">
      <summary>Each worker's steps</summary>
      <ul>
        ${ringStepLines(ring).map((line) => html`<li>${line}</li>`)}
      </ul>
    </details>`;
}

function kindField(draft: AttentionDraft, play: Playground, prefix: string): TemplateResult {
  return dropdown<AttentionKind>({
    label: "Attention",
    value: draft.kind,
    testId: `${prefix}-kind`,
    options: attentionRows.map(({ kind, label }) => ({ value: kind, text: label })),
    onChange: (kind) => {
      play.attention.edit(draftOfKind(kind, draft));
    },
  });
}

function valueField(
  field: PolicyField,
  draft: AttentionDraft,
  problems: Readonly<Record<string, string>>,
  play: Playground,
  prefix: string,
): TemplateResult {
  const value = draft.text[field.name] ?? "";
  const testId = `${prefix}-${field.name}`;
  const change = (text: string): void => {
    play.attention.edit({ ...draft, text: { ...draft.text, [field.name]: text } });
  };
  if ("words" in field) {
    const options = field.words.map((word) => ({ value: word, text: word }));
    return dropdown({ label: field.label, value, testId, options, onChange: change });
  }
  return textField({
    label: field.label,
    value,
    testId,
    help: rangeText(field),
    problem: problems[field.name],
    onChange: change,
  });
}

function pagesField(
  draft: AttentionDraft,
  problems: Readonly<Record<string, string>>,
  play: Playground,
  prefix: string,
): TemplateResult {
  return textField({
    label: "Decode from top pages",
    value: draft.pages,
    testId: `${prefix}-pages`,
    placeholder: "all of them",
    help: `${pagesRow.source}: pages of 16 keys that each token of the answer reads; empty: all`,
    problem: problems["pages"],
    onChange: (pages) => {
      play.attention.edit({ ...draft, pages });
    },
  });
}

const formatTexts: Record<KvFormat, string> = {
  f32: "f32 (4 bytes a number)",
  f16: "f16 (2 bytes a number)",
  q8: "q8 (8.5 bits a number)",
  q4: "q4 (4.5 bits a number)",
};

function cacheFields({ kv }: PanelSettings, play: Playground, prefix: string): TemplateResult {
  const field = (label: string, part: keyof KvFormats): TemplateResult =>
    dropdown<KvFormat>({
      label,
      value: kv[part],
      testId: `${prefix}-${part}-format`,
      options: kvFormats.map((format) => ({ value: format, text: formatTexts[format] })),
      onChange: (format) => {
        play.changeSettings({ kv: { ...kv, [part]: format } });
      },
    });
  return html`${field("Cached keys", "keys")} ${field("Cached values", "values")}`;
}

/** What the policy does, what it gives up, and whether anything is left out or rounded. */
function meaning({ kind, pages }: AttentionDraft, prefix: string): TemplateResult {
  const { does, givesUp, exact, decode, source } = policyRow(kind);
  const hasPages = pages.trim() !== "";
  const isExact = exact && !hasPages;
  return html`<p>${sentence(does)} <span class="dim">(${source})</span></p>
    <p data-testid="${prefix}-gives-up">Gives up: ${givesUp}.${hasPages ? ` For answers: ${pagesRow.givesUp}.` : ""}</p>
    <p data-testid="${prefix}-exact" data-exact=${isExact ? "true" : "false"}>
      ${isExact ? "Exact: no key is left out and none is rounded by it." : "Not exact: answers can differ from those of flash."}
      ${decode || hasPages ? nothing : "It is for the prompt; answers are decoded from every key."}
    </p>`;
}

/** Where WASM took over and caches otherwise than was chosen, it says so. */
function cacheWords(chosen: KvFormats, info: SessionInfo | undefined): TemplateResult | typeof nothing {
  if (info?.backend !== "ort" || !info.kv || formatKvFormats(info.kv) === formatKvFormats(chosen)) return nothing;
  return html`<p class="problem">
    The engine that is open caches keys and values in ${formatKvFormats(info.kv)}: ${sentence(info.backendBecause)}
  </p>`;
}

function lastRun(state: State, prefix: string): TemplateResult | typeof nothing {
  const result = shownRun(state)?.result;
  if (!result) return nothing;
  return html`${keptMassLine(result, `${prefix}-kept-mass`)} ${cacheErrorLine(result, `${prefix}-cache-error`)}
  ${denseScoresLine(result, `${prefix}-dense-scores`)}`;
}
