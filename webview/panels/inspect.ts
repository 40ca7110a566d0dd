/** Inspect: the attention map beside the settings that change the next run. */
import { html } from "lit";
import type { TemplateResult } from "lit";
import type { Playground } from "../playground.ts";
import type { State } from "../state/store.ts";
import { attentionPanel } from "./attention.ts";
import { generationSettings } from "./generation.ts";
import { heatmapPanel } from "./heatmap.ts";
import { ropeLab } from "./rope.ts";

export function inspectPanel(state: State, play: Playground): TemplateResult {
  return html`<section id="panel-inspect" role="tabpanel" aria-labelledby="tab-inspect" class="inspect">
    ${heatmapPanel(state, play)}
    <div class="settings">${ropeLab(state, play)} ${attentionPanel(state, play)} ${generationSettings(state, play)}</div>
  </section>`;
}
