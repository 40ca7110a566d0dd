/** How the answer is written and where the model runs: every control changes the next run, or opens the engine anew. */
import { html } from "lit";
import type { TemplateResult } from "lit";
import type { Sampling } from "../../engine/api.ts";
import { dropdown, textField } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import type { PanelSettings } from "../protocol/panel.ts";
import type { State } from "../state/store.ts";
import { backendField, productsField, weightFormatField } from "./header.ts";

/** Longest answer that may be asked for: the window is for the repository. */
const MAX_ANSWER_TOKENS = 4096;

export function generationSettings({ settings }: State, play: Playground): TemplateResult {
  return html`<section class="lab" aria-label="Answer settings">
    <h3>Answer</h3>
    ${settings ? fields(settings, play) : html`<p class="dim">The settings are being read.</p>`}
  </section>`;
}

function fields(settings: PanelSettings, play: Playground): TemplateResult {
  const sample = (change: Partial<Sampling>): void => {
    play.changeSettings({ sampling: { ...settings.sampling, ...change } });
  };
  const { temperature, topP, seed } = settings.sampling;
  return html`<div class="fields">
    ${dropdown<PanelSettings["quote"]>({
      label: "Quotes",
      value: settings.quote,
      testId: "lc-quote",
      options: [
        { value: "constrained", text: "constrained to the files" },
        { value: "free", text: "free: the model spells" },
      ],
      onChange: (quote) => {
        play.changeSettings({ quote });
      },
    })}
    ${numberField("Temperature", temperature, "0 always takes the likeliest token", "lc-temperature", [0, 2], (value) => {
      sample({ temperature: value });
    })}
    ${numberField("Top-p", topP, "nucleus mass, above 0 and at most 1", "lc-top-p", [0.01, 1], (value) => {
      sample({ topP: value });
    })}
    ${numberField("Seed", seed, "the same seed draws the same answer", "lc-seed", [0, 0xffffffff], (value) => {
      sample({ seed: Math.floor(value) });
    })}
    ${numberField(
      "Largest answer, tokens",
      settings.maxAnswerTokens,
      "kept free in the window",
      "lc-max-answer",
      [1, MAX_ANSWER_TOKENS],
      (value) => {
        play.changeSettings({ maxAnswerTokens: Math.floor(value) });
      },
    )}
    ${backendField(settings, play, "lc-inspect-backend")} ${weightFormatField(settings, play, "lc-inspect-weight-format")}
    ${productsField(settings, play, "lc-inspect-products")}
  </div>`;
}

/** A number inside bounds; what is outside, or no number, falls back to the nearest bound or to the value before. */
function numberField(
  label: string,
  value: number,
  help: string,
  testId: string,
  [low, high]: readonly [number, number],
  change: (value: number) => void,
): TemplateResult {
  return textField({
    label,
    value: String(value),
    help,
    testId,
    onChange: (text) => {
      const typed = text.trim() === "" ? NaN : Number(text);
      change(Number.isFinite(typed) ? Math.min(high, Math.max(low, typed)) : value);
    },
  });
}
