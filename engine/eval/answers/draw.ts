import { nameId } from "../../pack/names.ts";
import { uniformAt } from "../../reference/sample.ts";

/** A whole number in [0, count), another one with every call. */
export type Draw = (count: number) => number;

/** Draws that only the seed and the labels decide. */
export function drawFor(seed: number, ...labels: readonly (string | number)[]): Draw {
  const own = (seed ^ nameId(labels.join("\n"))) >>> 0;
  let position = 0;
  return (count) => Math.min(count - 1, Math.floor(uniformAt(own, position++) * count));
}

/** The items in an order that is drawn (Fisher and Yates). */
export function shuffled<Item>(items: readonly Item[], draw: Draw): Item[] {
  const left = [...items];
  const order: Item[] = [];
  while (left.length > 0) order.push(...left.splice(draw(left.length), 1));
  return order;
}

/** One of the items; undefined of none. */
export function oneOf<Item>(items: readonly Item[], draw: Draw): Item | undefined {
  return items.length === 0 ? undefined : items[draw(items.length)];
}
