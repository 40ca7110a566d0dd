/**
 * <lc-heat>: one canvas that paints a pooled map and turns pointer and keys into cells and windows. It keeps no facts: the
 * cursor and the picture come from the store.
 */
import type { ColorScale } from "../heatmap/colormap.ts";
import { strongestCells, hitTest, largestMass, windowOf, zoomIn } from "../heatmap/model.ts";
import type { Cell, HeatPicture, HeatWindow } from "../heatmap/model.ts";
import { paint } from "../heatmap/raster.ts";

export interface HeatView {
  picture: HeatPicture;
  scale: ColorScale;
  cursor: Cell;
  /** The window the picture shows, for zooming. */
  window: HeatWindow;
  /** Name for assistive technology. */
  label: string;
  testId: string;
  onCursor: (cell: Cell) => void;
  /** Absent on a strip that cannot be zoomed. */
  onZoom?: (window: HeatWindow) => void;
  onZoomOut?: () => void;
}

export class HeatCanvas extends HTMLElement {
  #view: HeatView | undefined;
  #painted: { picture: HeatPicture; scale: ColorScale } | undefined;
  #canvas = document.createElement("canvas");
  #cursor = document.createElementNS(SVG, "rect");
  #drag: { from: Cell; to: Cell } | undefined;

  constructor() {
    super();
    const overlay = document.createElementNS(SVG, "svg");
    overlay.setAttribute("aria-hidden", "true");
    this.#cursor.setAttribute("class", "cursor");
    overlay.append(this.#cursor);
    this.#canvas.tabIndex = 0;
    this.#canvas.setAttribute("role", "application");
    this.#canvas.addEventListener("pointerdown", (event) => {
      const cell = this.#cellAt(event);
      if (!cell || event.button !== 0) return;
      this.#canvas.setPointerCapture(event.pointerId);
      this.#drag = { from: cell, to: cell };
    });
    this.#canvas.addEventListener("pointermove", (event) => {
      const cell = this.#cellAt(event);
      if (!cell) return;
      if (this.#drag) this.#drag.to = cell;
      this.#moveTo(cell);
      this.#drawCursor();
    });
    this.#canvas.addEventListener("pointerup", () => {
      this.#zoomDragged();
    });
    this.#canvas.addEventListener("pointercancel", () => {
      this.#drag = undefined;
    });
    this.#canvas.addEventListener("keydown", (event) => {
      this.#key(event);
    });
    this.#children = [this.#canvas, overlay];
  }

  #children: Element[];

  connectedCallback(): void {
    this.replaceChildren(...this.#children);
  }

  set view(view: HeatView) {
    this.#view = view;
    const { picture, scale } = view;
    if (this.#painted?.picture !== picture || this.#painted.scale !== scale) {
      paint(this.#canvas, picture.pooled, largestMass(picture), scale);
      this.#painted = { picture, scale };
      const [strongest] = strongestCells(picture, 1);
      const data = this.#canvas.dataset;
      data["rows"] = String(picture.pooled.rows);
      data["columns"] = String(picture.pooled.columns);
      data["maxRow"] = String(strongest?.row ?? "");
      data["maxColumn"] = String(strongest?.column ?? "");
    }
    this.#canvas.dataset["testid"] = view.testId;
    this.#canvas.setAttribute("aria-label", view.label);
    this.#drawCursor();
  }

  #cellAt(event: PointerEvent): Cell | undefined {
    const box = this.#canvas.getBoundingClientRect();
    return (
      this.#view && hitTest(this.#view.picture, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height)
    );
  }

  #moveTo(cell: Cell): void {
    const at = this.#view?.cursor;
    if (at?.row !== cell.row || at.column !== cell.column) this.#view?.onCursor(cell);
  }

  #zoomDragged(): void {
    const drag = this.#drag;
    this.#drag = undefined;
    const view = this.#view;
    if (!drag || !view?.onZoom) return;
    const clicked = drag.from.row === drag.to.row && drag.from.column === drag.to.column;
    view.onZoom(clicked ? zoomIn(view.picture, drag.from, view.window) : windowOf(view.picture, drag.from, drag.to));
  }

  #key(event: KeyboardEvent): void {
    const view = this.#view;
    const step = steps[event.key];
    if (!view) return;
    const { rows, columns } = view.picture.pooled;
    const far = event.shiftKey ? 10 : 1;
    const row = Math.min(rows - 1, Math.max(0, view.cursor.row));
    if (step) {
      const next = {
        row: Math.min(rows - 1, Math.max(0, row + step.row * far)),
        column: Math.min(columns - 1, Math.max(0, view.cursor.column + step.column * far)),
      };
      this.#moveTo(next);
    } else if (event.key === "Enter" && view.onZoom) view.onZoom(zoomIn(view.picture, { ...view.cursor, row }, view.window));
    else if (event.key === "Escape" && view.onZoomOut) view.onZoomOut();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #drawCursor(): void {
    const view = this.#view;
    if (!view) return;
    const { rows, columns } = view.picture.pooled;
    const from = this.#drag?.from ?? view.cursor;
    const to = this.#drag?.to ?? view.cursor;
    const inside = view.cursor.row >= 0 && view.cursor.row < rows && view.cursor.column < columns;
    const box = {
      x: Math.min(from.column, to.column) / columns,
      y: Math.min(from.row, to.row) / rows,
      width: inside ? (Math.abs(to.column - from.column) + 1) / columns : 0,
      height: inside ? (Math.abs(to.row - from.row) + 1) / rows : 0,
    };
    for (const [name, part] of Object.entries(box)) this.#cursor.setAttribute(name, `${Math.max(0, part) * 100}%`);
  }
}

const SVG = "http://www.w3.org/2000/svg";

const steps: Partial<Record<string, Cell>> = {
  ArrowUp: { row: -1, column: 0 },
  ArrowDown: { row: 1, column: 0 },
  ArrowLeft: { row: 0, column: -1 },
  ArrowRight: { row: 0, column: 1 },
};
