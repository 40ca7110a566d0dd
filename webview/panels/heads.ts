/** Layers by heads: what each head does, as a grid of buttons that choose the head of the map, and the distances of the chosen one. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { AttentionFacts, HeadFacts } from "../../engine/attention/api.ts";
import { shareBar } from "../components/bars.ts";
import { dropdown } from "../components/ui.ts";
import { luminance, rampColor } from "../heatmap/colormap.ts";
import type { Playground } from "../playground.ts";
import { distanceRows, headPlace, headShades, headWords, type HeadShade } from "../state/headShade.ts";
import type { HeatState } from "../state/store.ts";
import { exact } from "../state/words.ts";

export function headsPanel(heat: HeatState, play: Playground): TemplateResult | typeof nothing {
  const { heads: facts, shade } = heat;
  if (facts === undefined || facts.heads.length === 0) return nothing;
  const layers = [...new Set(facts.heads.map(({ layer }) => layer))];
  const chosen = facts.heads.find(({ layer, head }) => layer === heat.layer && head === heat.head);
  return html`<details class="heads" open>
    <summary>What each head does</summary>
    <div class="fields">
      ${dropdown<HeadShade>({
        label: "Shaded by",
        value: shade,
        testId: "lc-head-shade",
        options: (Object.keys(headShades) as HeadShade[]).map((value) => ({ value, text: headShades[value].label })),
        onChange: (next) => {
          play.changeHeat({ shade: next });
        },
      })}
    </div>
    <p class="dim">${headShades[shade].about}; means over ${exact(facts.queries)} sampled tokens. A head shows its map.</p>
    <table class="head-grid" data-testid="lc-heads">
      <thead>
        <tr>
          <th scope="col">Layer</th>
          ${layers.length === 0 ? nothing : columns(facts).map((head) => html`<th scope="col">${head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${layers.map(
          (layer) =>
            html`<tr>
              <th scope="row">${layer}</th>
              ${facts.heads.filter((head) => head.layer === layer).map((head) => cell(head, facts, heat, play))}
            </tr>`,
        )}
      </tbody>
    </table>
    ${chosen ? distances(chosen) : nothing}
  </details>`;
}

function columns({ heads }: AttentionFacts): number[] {
  return [...new Set(heads.map(({ head }) => head))];
}

function cell(facts: HeadFacts, { heads }: AttentionFacts, heat: HeatState, play: Playground): TemplateResult {
  const { layer, head } = facts;
  const color = rampColor(headPlace(facts, heads, heat.shade));
  const isChosen = heat.layer === layer && heat.head === head;
  const words = headWords(facts, heat.shade);
  const say = (shade: HeadShade): string => `${headShades[shade].label} ${headWords(facts, shade)}`;
  return html`<td>
    <button
      type="button"
      class=${`head-cell${luminance(color) > 0.3 ? " light" : ""}${isChosen ? " chosen" : ""}`}
      aria-pressed=${isChosen ? "true" : "false"}
      aria-label=${`Layer ${layer}, head ${head}: ${say("sinks")}, ${say("keys")}, ${say("distance")}`}
      title=${`${say("sinks")} · ${say("keys")} · ${say("distance")}`}
      @click=${() => {
        play.changeHeat({ layer, head });
      }}
    >
      <svg aria-hidden="true" width="100%" height="100%">
        <rect width="100%" height="100%" fill=${`rgb(${color.join(" ")})`}></rect>
      </svg>
      <span>${words}</span>
    </button>
  </td>`;
}

function distances(facts: HeadFacts): TemplateResult {
  return html`<table class="head-distances" data-testid="lc-head-distances">
    <caption>
      Layer ${facts.layer}, head ${facts.head}: attention by distance
    </caption>
    <thead>
      <tr>
        <th scope="col">Tokens back</th>
        <th scope="col" class="number">Share</th>
        <td></td>
      </tr>
    </thead>
    <tbody>
      ${distanceRows(facts).map(
        ({ range, share }) =>
          html`<tr>
            <td>${range}</td>
            <td class="number">${(100 * share).toFixed(1)} %</td>
            <td>${shareBar(share)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}
