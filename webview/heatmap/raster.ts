/** Paints a pooled map: one image pixel per cell, scaled up without smoothing, so that a cell keeps its edges at any size. */
import type { PooledAttention } from "../../engine/api.ts";
import { rampColor, rampPosition } from "./colormap.ts";
import type { ColorScale } from "./colormap.ts";

/** Pixels [rows, columns, 4] of the map; pure, so a test can read them. */
export function rasterize(pooled: PooledAttention, largest: number, scale: ColorScale): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(pooled.rows * pooled.columns * 4);
  for (let i = 0; i < pooled.rows * pooled.columns; i++) {
    const [red, green, blue] = rampColor(rampPosition(pooled.cells[i] ?? 0, largest, scale));
    pixels[i * 4] = red;
    pixels[i * 4 + 1] = green;
    pixels[i * 4 + 2] = blue;
    pixels[i * 4 + 3] = 255;
  }
  return pixels;
}

/** Draws the map into the canvas; its backing store becomes [columns, rows] and CSS scales it. */
export function paint(canvas: HTMLCanvasElement, pooled: PooledAttention, largest: number, scale: ColorScale): void {
  if (canvas.width !== pooled.columns) canvas.width = pooled.columns;
  if (canvas.height !== pooled.rows) canvas.height = pooled.rows;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.putImageData(new ImageData(rasterize(pooled, largest, scale), pooled.columns, pooled.rows), 0, 0);
}
