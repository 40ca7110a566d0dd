/** <lc-ramp>: the color scale of the map as a strip, painted with the same ramp. */
import { rampColor } from "../heatmap/colormap.ts";

export class RampStrip extends HTMLElement {
  connectedCallback(): void {
    const canvas = document.createElement("canvas");
    canvas.width = 128;
    canvas.height = 1;
    canvas.setAttribute("aria-hidden", "true");
    const context = canvas.getContext("2d");
    for (let x = 0; context && x < canvas.width; x++) {
      context.fillStyle = `rgb(${rampColor(x / (canvas.width - 1)).join(" ")})`;
      context.fillRect(x, 0, 1, 1);
    }
    this.replaceChildren(canvas);
  }
}
