/** The attention map: layer and head, files on both axes, what is under the cursor, and the same as a table. */
import { html, nothing, svg } from "lit";
import type { TemplateResult } from "lit";
import type { PackedFile, SessionInfo } from "../../engine/api.ts";
import { button, dropdown, ring } from "../components/ui.ts";
import type { HeatView } from "../components/heatCanvas.ts";
import type { ColorScale } from "../heatmap/colormap.ts";
import { LOG_FLOOR } from "../heatmap/colormap.ts";
import { strongestCells, cellLift, cellMass, cellSpans, fileBands, largestMass, placeOf, placeText } from "../heatmap/model.ts";
import type { Band, Cell, HeatPicture } from "../heatmap/model.ts";
import type { Playground } from "../playground.ts";
import type { HeatState, State } from "../state/store.ts";
import { exact, short } from "../state/words.ts";
import { headsPanel } from "./heads.ts";

export function heatmapPanel(state: State, play: Playground): TemplateResult {
  const run = state.runs.find((candidate) => candidate.id === state.cachedRun);
  const info = state.engine.status === "ready" ? state.engine.info : undefined;
  return html`<section class="heat" aria-label="Attention map">
    <h3>Attention</h3>
    <p class="dim">Where the model looked, pooled over tokens. Attention is no proof: only a verified quote is.</p>
    ${
      run && info
        ? html`${controls(info, state.heat, play)} ${status(state.heat, play)}
          ${state.heat.picture ? map(state.heat, state.heat.picture, run.result.packed, play) : nothing}
          ${headsPanel(state.heat, play)}`
        : html`<div class="block quiet">
            <p>${waiting(state)}</p>
          </div>`
    }
  </section>`;
}

function waiting({ live, runs }: State): string {
  if (live) return "The map is drawn when the answer is written.";
  if (runs.length > 0)
    return "The engine no longer holds the keys of an earlier run. Ask a question, and its attention can be inspected here.";
  return "Ask a question first: the map shows how its prompt was read.";
}

function controls(info: SessionInfo, heat: HeatState, play: Playground): TemplateResult {
  const tapped = new Set(info.tap.layers);
  const index = (value: string): number | "mean" => (value === "mean" ? value : Number(value));
  return html`<div class="fields">
      ${dropdown({
        label: "Layer",
        value: String(heat.layer),
        testId: "lc-layer",
        options: [
          { value: "mean", text: tapped.size === info.spec.layerCount ? "mean of all layers" : "mean of the kept layers" },
          ...Array.from({ length: info.spec.layerCount }, (_, layer) => ({
            value: String(layer),
            text: tapped.has(layer) ? `layer ${layer}` : `layer ${layer} (not kept)`,
            disabled: !tapped.has(layer),
          })),
        ],
        onChange: (value) => {
          play.changeHeat({ layer: index(value) });
        },
      })}
      ${dropdown({
        label: "Head",
        value: String(heat.head),
        testId: "lc-head",
        options: [
          { value: "mean", text: "mean of all heads" },
          ...Array.from({ length: info.spec.kind === "decoder" ? info.spec.headCount : 0 }, (_, head) => ({
            value: String(head),
            text: `head ${head}`,
          })),
        ],
        onChange: (value) => {
          play.changeHeat({ head: index(value) });
        },
      })}
      ${dropdown<ColorScale>({
        label: "Colors",
        value: heat.scale,
        testId: "lc-scale",
        options: [
          { value: "log", text: "logarithmic" },
          { value: "linear", text: "linear" },
        ],
        onChange: (scale) => {
          play.changeHeat({ scale });
        },
      })}
    </div>
    ${sampled(heat)} ${tapped.size < info.spec.layerCount ? html`<p class="dim">${info.tap.because}</p>` : nothing}`;
}

/** A long context keeps some of its queries only. */
function sampled({ picture, window }: HeatState): TemplateResult | typeof nothing {
  const kept = picture?.pooled.sampledQueries;
  const queries = window.query.end - window.query.start;
  if (kept === undefined || kept >= queries) return nothing;
  return html`<p class="dim" data-testid="lc-sampled">
    Rows are means over ${exact(kept)} sampled tokens of ${exact(queries)}; one without a sample has that of its nearest.
  </p>`;
}

function status({ status: now }: HeatState, play: Playground): TemplateResult {
  switch (now.kind) {
    case "idle":
      return html`<div class="runline"></div>`;
    case "pooling":
      return html`<div class="runline" role="status">
        ${ring()}<span class="phase">pooling attention</span>${button({ label: "Cancel", onClick: play.stopPooling })}
      </div>`;
    case "failed":
      return html`<div class="runline problem" role="alert">
        <span>${now.error.message}; ${now.error.remedy}</span>${button({ label: "Try again", onClick: play.pool })}
      </div>`;
  }
}

function map(heat: HeatState, picture: HeatPicture, files: readonly PackedFile[], play: Playground): TemplateResult {
  const { cursor, window, scale } = heat;
  const common = { scale, cursor, window };
  const mapView: HeatView = {
    ...common,
    picture,
    label:
      "Attention map; arrow keys move the cell, Enter zooms in, Escape zooms out. The table below lists the strongest cells.",
    testId: "lc-heatmap",
    onCursor: (cell) => {
      play.changeHeat({ cursor: cell });
    },
    onZoom: play.zoom,
    onZoomOut: play.zoomOut,
  };
  return html`<div class="map">
      <div class="axis-top">${bandStrip(fileBands(files, window.key), "across")}</div>
      ${heat.answerRow ? answerStrip(heat.answerRow, heat, play) : nothing}
      <div class="axis-left">${bandStrip(fileBands(files, window.query), "down")}</div>
      <lc-heat class="square" .view=${mapView}></lc-heat>
    </div>
    <p class="readout" aria-live="polite" data-testid="lc-readout">${readout(heat, picture, files)}</p>
    <div class="legendline">
      ${legend(picture, scale)}
      ${button({
        label: "Zoom out",
        disabled: heat.outer.length === 0,
        title: heat.outer.length === 0 ? "The whole prompt is shown" : "Escape",
        onClick: play.zoomOut,
        testId: "lc-zoom-out",
      })}
    </div>
    ${heat.answerRow ? table("Where the answer looked", heat.answerRow, files, 10, "lc-answer-table") : nothing}
    ${table("Strongest cells of the map, away from the diagonal and the attention sink", picture, files, 20, "lc-heatmap-table")}`;
}

/** The answer's own row over all keys, pinned above the map. */
function answerStrip(row: HeatPicture, heat: HeatState, play: Playground): TemplateResult {
  const view: HeatView = {
    picture: row,
    scale: heat.scale,
    window: heat.window,
    cursor: heat.cursor.row === -1 ? { row: 0, column: heat.cursor.column } : { row: -1, column: 0 },
    label: "Attention of the answer's tokens over the prompt; arrow keys move",
    testId: "lc-answer-row",
    onCursor: ({ column }) => {
      play.changeHeat({ cursor: { row: -1, column } });
    },
  };
  return html`<span class="strip-label">answer</span><lc-heat class="answer-row" .view=${view}></lc-heat>`;
}

/** Files along an axis; percentages keep the words unscaled, a nested svg clips them. */
function bandStrip(bands: readonly Band[], direction: "across" | "down"): TemplateResult {
  const across = direction === "across";
  return html`<svg class="bands" aria-hidden="true">
    ${bands.map((band, index) => {
      const start = `${band.from * 100}%`;
      const length = `${Math.max(0, band.to - band.from) * 100}%`;
      const box = across
        ? { x: start, y: "0", width: length, height: "100%" }
        : { x: "0", y: start, width: "100%", height: length };
      return svg`<svg x=${box.x} y=${box.y} width=${box.width} height=${box.height}>
        <title>${band.path}</title>
        <rect class=${index % 2 === 0 ? "band even" : "band"} width="100%" height="100%"></rect>
        ${band.to - band.from > 0.02 ? svg`<text x="4" y="12">${baseName(band.path)}</text>` : nothing}
      </svg>`;
    })}
  </svg>`;
}

function readout(heat: HeatState, map: HeatPicture, files: readonly PackedFile[]): string {
  const onAnswer = heat.cursor.row === -1 && heat.answerRow;
  const picture = onAnswer ? heat.answerRow : map;
  if (!picture) return "";
  const cell = onAnswer ? { row: 0, column: heat.cursor.column } : heat.cursor;
  const { query, key } = cellSpans(picture, cell);
  const from = onAnswer ? "the answer" : placeText(placeOf(files, query));
  return `${from} → ${placeText(placeOf(files, key))} · mass ${mass(cellMass(picture, cell))}`;
}

function legend(picture: HeatPicture, scale: ColorScale): TemplateResult {
  const top = largestMass(picture);
  return html`<span class="legend">
    <span>${scale === "log" ? `≤ ${mass(top * LOG_FLOOR)}` : "0"}</span><lc-ramp></lc-ramp><span>${mass(top)}</span>
    <span class="dim">mean mass per query${scale === "log" ? ", log scale" : ""}</span>
  </span>`;
}

function table(title: string, picture: HeatPicture, files: readonly PackedFile[], count: number, testId: string): TemplateResult {
  const cells = strongestCells(picture, count);
  const place = (span: "query" | "key", cell: Cell): string => placeText(placeOf(files, cellSpans(picture, cell)[span]));
  return html`<details class="heat-table" ?open=${testId === "lc-answer-table"}>
    <summary>${title}</summary>
    <table data-testid=${testId}>
      <thead>
        <tr>
          <th scope="col">From</th>
          <th scope="col">To</th>
          <th scope="col" class="number">Tokens</th>
          <th scope="col" class="number">Mass</th>
          <th scope="col" class="number" title="Times what an even spread over the visible keys would give">Over even</th>
        </tr>
      </thead>
      <tbody>
        ${cells.map((cell) => {
          const { key } = cellSpans(picture, cell);
          return html`<tr>
            <td>${testId === "lc-answer-table" ? "answer" : place("query", cell)}</td>
            <td>${place("key", cell)}</td>
            <td class="number">${exact(key.start)}–${exact(key.end - 1)}</td>
            <td class="number">${mass(cellMass(picture, cell))}</td>
            <td class="number">×${short(cellLift(picture, cell))}</td>
          </tr>`;
        })}
      </tbody>
    </table>
  </details>`;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function mass(value: number): string {
  return value >= 0.001 || value === 0 ? value.toFixed(4) : value.toExponential(1);
}
