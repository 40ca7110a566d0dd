/** What the heatmap shows, as it begins, as it loses its picture, and one step back out. */
import { wholeWindow } from "../heatmap/model.ts";
import type { HeatState } from "./store.ts";

/** A map of the whole prompt, but for queries in front of `from`, which are not there. */
export function freshHeat(
  { layer, head, scale }: Pick<HeatState, "layer" | "head" | "scale">,
  lengthTokens: number,
  from = 0,
): HeatState {
  const { query, key } = wholeWindow(lengthTokens);
  return {
    layer,
    head,
    scale,
    window: { query: { ...query, start: Math.min(from, lengthTokens - 1) }, key },
    outer: [],
    cursor: { row: 0, column: 0 },
    status: { kind: "idle" },
    picture: undefined,
    answerRow: undefined,
    heads: undefined,
    shade: "sinks",
  };
}

export function withoutPicture(heat: HeatState): HeatState {
  return { ...heat, status: { kind: "idle" }, picture: undefined, answerRow: undefined, heads: undefined };
}

export function zoomedOut(heat: HeatState): HeatState {
  const back = heat.outer.at(-1);
  return back ? { ...heat, window: back, outer: heat.outer.slice(0, -1), cursor: { row: 0, column: 0 } } : heat;
}
