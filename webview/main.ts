/** The panel's page: wires the store, the host and the two panels together, and draws once per frame. */
import { html, nothing, render } from "lit";
import type { TemplateResult } from "lit";
import uplotStyles from "uplot/dist/uPlot.min.css";
import adaptedStyles from "./adapted.css";
import { AnswerText } from "./components/answerText.ts";
import { WavelengthCurve } from "./components/curve.ts";
import { HeatCanvas } from "./components/heatCanvas.ts";
import { liveRegion } from "./components/liveRegion.ts";
import { RampStrip } from "./components/ramp.ts";
import { button, registerControls } from "./components/ui.ts";
import { hostPort, readViewState, writeViewState } from "./hostPort.ts";
import { askPanel } from "./panels/ask.ts";
import { header } from "./panels/header.ts";
import { inspectPanel } from "./panels/inspect.ts";
import { createPlayground } from "./playground.ts";
import type { Playground } from "./playground.ts";
import { announce, nothingTold } from "./state/announce.ts";
import { createStore, initialState, shownRun } from "./state/store.ts";
import type { EngineState, State, Tab } from "./state/store.ts";
import { mebibytes, sentence } from "./state/words.ts";
import styles from "./styles.css";

registerControls();
customElements.define("lc-curve", WavelengthCurve);
customElements.define("lc-heat", HeatCanvas);
customElements.define("lc-ramp", RampStrip);
customElements.define("lc-text", AnswerText);
document.adoptedStyleSheets.push(sheet(uplotStyles), sheet(styles), sheet(adaptedStyles));

const store = createStore(initialState(readViewState()));
const { worker = "", ortWasm = "" } = document.body.dataset;
const play = createPlayground(store, hostPort, { worker, ortWasm });
const root = document.createElement("main");
const region = liveRegion();
document.body.replaceChildren(root, region.element);
let told = nothingTold;

let frame: number | undefined;
const draw = (): void => {
  frame = undefined;
  const { state } = store;
  render(page(state, play), root);
  const next = announce(told, {
    status: toldStatus(state),
    note: state.answer.note,
    live: state.live,
    finished: shownRun(state),
  });
  told = next.told;
  if (next.say !== "") region.say(next.say);
};
store.subscribe(() => {
  frame ??= requestAnimationFrame(draw);
  writeViewState({ tab: store.state.tab, question: store.state.question });
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  if (store.state.chip) play.toggleChip(undefined);
  else if (store.state.answer.editing !== undefined && !store.state.live) play.answers.cancelEdit();
  else play.stop();
});
draw();

function page(state: State, playground: Playground): TemplateResult {
  return html`${header(state, playground)} ${tabs(state, playground)}
    <p class="status" data-testid="lc-status" data-engine=${state.engine.status} title=${statusText(state)}>
      ${statusText(state)}
    </p>
    ${notice(state, playground)} ${engineFailure(state.engine, playground)}
    ${state.tab === "ask" ? askPanel(state, playground) : inspectPanel(state, playground)}`;
}

function tabs(state: State, playground: Playground): TemplateResult {
  const order: readonly Tab[] = ["ask", "inspect"];
  const moved = (event: KeyboardEvent): void => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const next = order.find((tab) => tab !== state.tab) ?? "ask";
    playground.selectTab(next);
    event.preventDefault();
    requestAnimationFrame(() => document.getElementById(`tab-${next}`)?.focus());
  };
  return html`<div class="tabs" role="tablist" aria-label="Views" @keydown=${moved}>
    ${order.map(
      (tab) =>
        html`<button
          role="tab"
          id="tab-${tab}"
          data-testid="lc-tab-${tab}"
          aria-selected=${state.tab === tab ? "true" : "false"}
          aria-controls="panel-${tab}"
          tabindex=${state.tab === tab ? 0 : -1}
          @click=${() => {
            playground.selectTab(tab);
          }}
        >
          ${tab === "ask" ? "Ask" : "Inspect"}
        </button>`,
    )}
  </div>`;
}

/** The line of the panel as it is read out: without the bytes that go on and on while a model opens. */
function toldStatus(state: State): string {
  return !state.live && state.engine.status === "starting" ? "Opening the model" : statusText(state);
}

/** One line for the whole panel; it holds no running numbers of a prefill. */
function statusText(state: State): string {
  const { engine, live, replying } = state;
  if (replying && (!live || live.phase === "listing")) return "Writing a reply for VS Code's chat";
  if (live)
    return { listing: "Listing files", packing: "Packing files", prefill: "Reading the prompt", answering: "Answering" }[
      live.phase
    ];
  if (engine.status === "failed") return `The engine is not running: ${engine.error.message}`;
  if (engine.status === "starting") {
    const weights = engine.totalBytes > 0 ? `, ${mebibytes(engine.doneBytes)} of ${mebibytes(engine.totalBytes)}` : "";
    return `Opening the model: ${engine.stage}${weights}`;
  }
  const { backend, backendBecause } = engine.info;
  return backend === "wgsl" ? `Ready: ${backendBecause}` : `Ready, without WebGPU: ${backendBecause}`;
}

function notice({ notice: shown }: State, playground: Playground): TemplateResult | typeof nothing {
  if (!shown) return nothing;
  return html`<div class="block error" role="alert" data-testid="lc-notice">
    <p><strong>${sentence(shown.message)}</strong> ${sentence(shown.remedy)}</p>
    ${button({ label: "Dismiss", onClick: playground.dismissNotice })}
  </div>`;
}

function engineFailure(engine: EngineState, playground: Playground): TemplateResult | typeof nothing {
  if (engine.status !== "failed") return nothing;
  const { error } = engine;
  return html`<div class="block error" role="alert" data-testid="lc-engine-failed" data-code=${error.code}>
    <p><strong>${sentence(`the engine is not running: ${error.message}`)}</strong></p>
    <p>${sentence(error.remedy)} Finished runs are kept.</p>
    ${button({ label: "Restart the engine", primary: true, onClick: playground.restartEngine, testId: "lc-restart" })}
    ${
      error.code === "no-adapter"
        ? button({
            label: "Use WASM instead",
            onClick: () => {
              playground.changeSettings({ backend: "auto" });
            },
          })
        : nothing
    }
    ${button({ label: "Choose another model folder…", onClick: playground.chooseModel })}
  </div>`;
}

function sheet(text: string): CSSStyleSheet {
  const made = new CSSStyleSheet();
  made.replaceSync(text);
  return made;
}
