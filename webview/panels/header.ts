/** The strip that never moves: what will happen when a question is asked. A chip opens its settings under the strip. */
import { html, nothing } from "lit";
import type { TemplateResult } from "lit";
import type { BackendChoice, SessionInfo, WeightFormat, MatmulPrecision } from "../../engine/api.ts";
import { label } from "../../engine/position/limits.ts";
import { windowMeter } from "../components/bars.ts";
import { button, dropdown } from "../components/ui.ts";
import type { Playground } from "../playground.ts";
import type { PanelSettings } from "../protocol/panel.ts";
import { attentionWord } from "../state/attentionFacts.ts";
import { windowFacts } from "../state/derived.ts";
import type { WindowFacts } from "../state/derived.ts";
import { positionOrigin } from "../state/positions.ts";
import type { Chip, State } from "../state/store.ts";
import { backendName, exact, mebibytes, plural, short } from "../state/words.ts";
import { attentionSettings } from "./attention.ts";
import { ropeKindField } from "./ropeKind.ts";

export function header(state: State, play: Playground): TemplateResult {
  const facts = windowFacts(state);
  const info = state.engine.status === "ready" ? state.engine.info : undefined;
  const chip = (name: Chip, title: string, content: TemplateResult, testId?: string): TemplateResult =>
    html`<button
      class="chip ${name}"
      title=${title}
      aria-expanded=${state.chip === name ? "true" : "false"}
      aria-controls="drawer"
      data-testid=${testId ?? `lc-chip-${name}`}
      data-backend=${name === "backend" ? (info?.backend ?? "") : nothing}
      @click=${() => {
        play.toggleChip(name);
      }}
    >
      ${content}<span class="caret" aria-hidden="true">▾</span>
    </button>`;
  return html`<header>
    <div class="strip">
      ${chip("model", "Model", html`<span>${info ? `${info.model} · ${short(info.parameterCount)}` : modelWord(state)}</span>`)}
      ${chip(
        "backend",
        info ? info.backendBecause : "Backend",
        html`<span>${info ? `${backendName(info)} · ${info.device}` : "backend: not open yet"}</span>`,
        "lc-backend",
      )}
      ${chip("window", meterTitle(facts), meter(facts))}
      ${chip("rope", positionsTitle(info), html`<span>${ropeWord(state, facts, info)}</span>`)}
      ${chip("attention", `Attention, and how keys and values are cached: ${attentionWord(state)}`, html`<span>${attentionWord(state)}</span>`)}
    </div>
    ${state.chip ? drawer(state.chip, state, facts, play) : nothing}
  </header>`;
}

function modelWord(state: State): string {
  return state.engine.status === "failed" ? "no model" : "opening the model…";
}

function positionsTitle(info: SessionInfo | undefined): string {
  return positionOrigin(info?.spec) === "RoPE" ? "RoPE scaling of the next run" : "Where positions come from";
}

function ropeWord(state: State, facts: ReturnType<typeof windowFacts>, info: SessionInfo | undefined): string {
  if (!facts || !state.settings) return "RoPE: …";
  if ("problem" in facts) return "RoPE: cannot be applied";
  const { kind } = state.settings.rope;
  const choice = kind === "auto" || kind === "model" ? ` (${kind})` : "";
  const origin = positionOrigin(info?.spec);
  return origin === "RoPE" ? `RoPE: ${label(facts.rope)}${choice}` : `positions: ${origin}${choice}`;
}

function meter(facts: ReturnType<typeof windowFacts>): TemplateResult {
  if (!facts || "problem" in facts) return html`<span>window: …</span>`;
  const { usedTokens, reservedTokens, limit } = facts;
  return html`${windowMeter({ used: usedTokens, reserved: reservedTokens, limit: limit.tokens })}
    <span data-testid="lc-limit" data-tokens=${limit.tokens} data-because=${limit.because}
      >${exact(usedTokens)} + ${exact(reservedTokens)} of ${exact(limit.tokens)}</span
    >`;
}

function meterTitle(facts: ReturnType<typeof windowFacts>): string {
  if (!facts) return "Context window";
  if ("problem" in facts) return facts.problem;
  const free = Math.max(0, facts.limit.tokens - facts.usedTokens - facts.reservedTokens);
  const numbers = `${exact(facts.usedTokens)} used by ${facts.usedIs}, ${exact(facts.reservedTokens)} reserved for the answer, ${exact(free)} free`;
  return `${numbers}, of ${exact(facts.limit.tokens)} tokens. ${facts.limit.explanation}`;
}

function drawer(chip: Chip, state: State, facts: ReturnType<typeof windowFacts>, play: Playground): TemplateResult {
  const { settings } = state;
  return html`<div class="drawer" id="drawer" role="region" aria-label="Settings: ${chip}">
    <div class="drawer-body">${settings ? drawerBody(chip, state, settings, facts, play) : "The settings are being read."}</div>
    ${button({
      label: "Close",
      onClick: () => {
        play.toggleChip(undefined);
      },
    })}
  </div>`;
}

function drawerBody(
  chip: Chip,
  state: State,
  settings: PanelSettings,
  facts: ReturnType<typeof windowFacts>,
  play: Playground,
): TemplateResult {
  const info = state.engine.status === "ready" ? state.engine.info : undefined;
  switch (chip) {
    case "model":
      return html`${info ? html`<p>${modelFacts(info)}</p>` : html`<p>No model is open.</p>`}
        <div class="fields">${weightFormatField(settings, play)} ${productsField(settings, play)}</div>
        ${button({ label: "Choose another model folder…", onClick: play.chooseModel })}`;
    case "backend":
      return html`<p>${info ? `${backendName(info)} on ${info.device}: ${info.backendBecause}` : "The engine is not open."}</p>
        <div class="fields">${backendField(settings, play)}</div>`;
    case "window":
      return windowDrawer(facts);
    case "rope":
      return html`<div class="fields">${ropeKindField(settings.rope.kind, info?.spec, play)}</div>
        ${facts && "limit" in facts ? html`<p>${facts.limit.explanation}</p>` : nothing}
        ${button({
          label: positionOrigin(info?.spec) === "RoPE" ? "Open the RoPE lab" : "Open Inspect",
          onClick: () => {
            play.selectTab("inspect");
          },
        })}`;
    case "attention":
      return html`${attentionSettings(state, play)}
      ${
        info
          ? html`<p>
              Attention can be inspected in
              ${plural(info.tap.layers.length, "layer")}${info.tap.because === "" ? "" : `: ${info.tap.because}`}.
            </p>`
          : nothing
      }`;
  }
}

function modelFacts(info: SessionInfo): string {
  const { spec } = info;
  const layers = plural(spec.layerCount, "layer");
  const shape =
    spec.kind === "decoder"
      ? `${layers}, ${spec.headCount} heads over ${spec.kvHeadCount} key/value heads of ${spec.headDim}`
      : `${layers} with a state of constant size`;
  return `${info.model} (${spec.modelType}): ${exact(info.parameterCount)} parameters, ${shape}; ${mebibytes(info.weightBytes)} ${storedAs(info)}.`;
}

/** How the weights are kept, and what rounding them cost. */
function storedAs({ weightFormat, quantizationError }: SessionInfo): string {
  const kept = weightFormat === "file" ? "as in the file" : `as ${weightFormat}`;
  if (quantizationError === undefined) return kept;
  return `${kept}, which are ${(100 * quantizationError).toPrecision(2)} % off those of the file (relative RMS)`;
}

function windowDrawer(facts: ReturnType<typeof windowFacts>): TemplateResult {
  if (!facts) return html`<p>The window is known once a model is open.</p>`;
  if ("problem" in facts) return html`<p>${facts.problem}</p>`;
  const { explanation, wouldBe } = facts.limit;
  const without = wouldBe < Number.MAX_SAFE_INTEGER ? `it would be ${exact(wouldBe)} tokens` : "there would be no limit";
  return html`<p>${explanation} Without that reason ${without}.</p>
    ${windowTable(facts)}`;
}

function windowTable({ usedTokens, usedIs, reservedTokens, limit }: WindowFacts): TemplateResult {
  const row = (name: string, tokens: number): TemplateResult =>
    html`<tr>
      <th scope="row">${name}</th>
      <td>${exact(tokens)}</td>
    </tr>`;
  const free = limit.tokens - usedTokens - reservedTokens;
  return html`<table class="numbers">
    <tbody>
      ${row(`used by ${usedIs}`, usedTokens)}${row("reserved for the answer", reservedTokens)}
      ${free >= 0 ? row("free", free) : row("over the limit; rows that do not fit are left out and named", -free)}${row(
        `limit (${limit.because})`,
        limit.tokens,
      )}
    </tbody>
  </table>`;
}

/** Where the forward pass runs; another choice opens the engine anew. */
export function backendField(settings: PanelSettings, play: Playground, testId = "lc-backend-choice"): TemplateResult {
  return dropdown<BackendChoice>({
    label: "Backend",
    value: settings.backend,
    testId,
    options: [
      { value: "auto", text: "auto (WebGPU if there)" },
      { value: "wgsl", text: "WebGPU" },
      { value: "ort", text: "WASM (onnxruntime-web)" },
      { value: "reference", text: "plain loops (slow)" },
    ],
    onChange: (backend) => {
      play.changeSettings({ backend });
    },
  });
}

/** How products with weights are made on WebGPU; another choice opens the engine anew. */
export function productsField(settings: PanelSettings, play: Playground, testId = "lc-products"): TemplateResult {
  return dropdown<MatmulPrecision>({
    label: "Products on WebGPU",
    value: settings.products,
    testId,
    options: [
      { value: "exact", text: "exact (f32)" },
      { value: "fast", text: "fast (8-bit inputs, half a percent off)" },
    ],
    onChange: (products) => {
      play.changeSettings({ products });
    },
  });
}

/** How matmul weights are kept; another choice opens the engine anew. */
export function weightFormatField(settings: PanelSettings, play: Playground, testId = "lc-weight-format"): TemplateResult {
  return dropdown<WeightFormat>({
    label: "Weights",
    value: settings.weightFormat,
    testId,
    options: [
      { value: "file", text: "as in the file" },
      { value: "f32", text: "f32 (4 bytes a number)" },
      { value: "q8_0", text: "q8_0 (8.5 bits a number)" },
      { value: "q4_0", text: "q4_0 (4.5 bits a number)" },
    ],
    onChange: (weightFormat) => {
      play.changeSettings({ weightFormat });
    },
  });
}
