/** <lc-curve>: wavelength per rotary pair on a log axis, drawn with uPlot in the colors of the theme. */
import uPlot from "uplot";
import type { CurveData } from "../state/curveData.ts";

export class WavelengthCurve extends HTMLElement {
  #data: CurveData | undefined;
  #plot: uPlot | undefined;
  #resized: ResizeObserver | undefined;
  #themed: MutationObserver | undefined;

  set data(data: CurveData) {
    if (JSON.stringify(data) === JSON.stringify(this.#data)) return;
    this.#data = data;
    this.#draw();
  }

  connectedCallback(): void {
    this.#resized = new ResizeObserver(() => this.#plot?.setSize({ width: this.#width(), height: HEIGHT }));
    this.#resized.observe(this);
    // VS Code changes the classes of the body when the theme changes; a canvas does not follow by itself.
    this.#themed = new MutationObserver(() => {
      this.#draw();
    });
    this.#themed.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    this.#draw();
  }

  disconnectedCallback(): void {
    this.#resized?.disconnect();
    this.#themed?.disconnect();
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  #width(): number {
    return Math.max(280, this.clientWidth);
  }

  #draw(): void {
    const data = this.#data;
    if (!data || !this.isConnected) return;
    this.#plot?.destroy();
    // A pair that never turns has no wavelength to draw, and a rotation of fewer pairs ends early.
    const decades = (tokens: readonly number[]): (number | null)[] =>
      data.pairs.map((pair) => {
        const count = tokens[pair];
        return count === undefined || count === Infinity ? null : Math.log10(Math.max(1, count));
      });
    const flat = (tokens: number): (number | null)[] => decades(data.pairs.map(() => tokens));
    const curves = [data.own, data.chosen, ...(data.local ? [data.local] : [])].map(decades);
    this.#plot = new uPlot(
      plotOptions(this.#width(), data.local !== undefined),
      [data.pairs, ...curves, flat(data.trainedTokens), flat(data.promptTokens)],
      this,
    );
  }
}

const HEIGHT = 240;

function plotOptions(width: number, hasLocal: boolean): uPlot.Options {
  const text = themeColor("--vscode-foreground");
  const grid = themeColor("--vscode-editorWidget-border", "--vscode-panel-border", "--vscode-foreground");
  const axis = { stroke: text, grid: { stroke: grid, width: 0.5 }, ticks: { stroke: grid, width: 0.5 }, font: "11px sans-serif" };
  const line = (label: string, color: string, dash?: number[]): uPlot.Series => ({
    label,
    stroke: themeColor(color, "--vscode-foreground"),
    width: 1.5,
    points: { show: false },
    value: (_, decade) => (decade === null ? "–" : compact(10 ** decade)),
    ...(dash ? { dash } : {}),
  });
  return {
    width,
    height: HEIGHT,
    scales: { x: { time: false } },
    legend: { live: true },
    cursor: { drag: { x: false, y: false } },
    axes: [
      { ...axis, label: "pair of dimensions", labelSize: 16, labelFont: axis.font, size: 34 },
      {
        ...axis,
        label: "wavelength, tokens",
        labelSize: 16,
        labelFont: axis.font,
        size: 56,
        incrs: [1, 2],
        values: (_, splits) => splits.map((decade) => compact(10 ** decade)),
      },
    ],
    series: [
      { label: "pair" },
      line("model's own", "--vscode-charts-foreground", [2, 3]),
      line("chosen", "--vscode-charts-blue"),
      ...(hasLocal ? [line("window layers", "--vscode-charts-purple")] : []),
      line("trained length", "--vscode-charts-green", [8, 4]),
      line("this prompt", "--vscode-charts-orange", [8, 4]),
    ],
  };
}

/** First of the theme's variables that has a value: not every theme sets every color. */
function themeColor(...names: string[]): string {
  const style = getComputedStyle(document.body);
  return names.map((name) => style.getPropertyValue(name).trim()).find((value) => value !== "") ?? style.color;
}

function compact(tokens: number): string {
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(tokens);
}
