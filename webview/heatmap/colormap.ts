/** The heatmap's ramp: lightness rises evenly from the panel's dark to near white, so that equal steps of mass look equal. */

export type ColorScale = "linear" | "log";

/** Mass below this part of the largest cell is drawn as nothing on the log scale (three decades): 1/512 of a
 *  row, an even spread over a full map, is still dark. */
export const LOG_FLOOR = 1e-3;

/** Position on the ramp, [0, 1], of `mass` where `largest` is the top; 0 where nothing was measured. */
export function rampPosition(mass: number, largest: number, scale: ColorScale): number {
  if (!(mass > 0) || !(largest > 0)) return 0;
  const part = Math.min(1, mass / largest);
  if (scale === "linear") return part;
  return Math.max(0, 1 - Math.log(part) / Math.log(LOG_FLOOR));
}

/** Red, green, blue, 0..255, at `position` of the ramp. */
export function rampColor(position: number): readonly [number, number, number] {
  const clamped = Math.min(1, Math.max(0, position));
  const scaled = clamped * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(scaled));
  const part = scaled - low;
  const from = stops[low] ?? [0, 0, 0];
  const to = stops[low + 1] ?? from;
  return [mix(from[0], to[0], part), mix(from[1], to[1], part), mix(from[2], to[2], part)];
}

/** Relative luminance of sRGB bytes (WCAG 2): what the ramp must raise at every step. */
export function luminance([red, green, blue]: readonly [number, number, number]): number {
  const linear = (byte: number): number => {
    const part = byte / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

/** Own ramp, night blue over teal and amber to ivory; even steps of CIE lightness, safe for red-green blindness. */
const stops: readonly (readonly [number, number, number])[] = [
  [13, 17, 28],
  [22, 40, 72],
  [24, 68, 106],
  [22, 98, 122],
  [50, 126, 122],
  [112, 150, 108],
  [178, 170, 92],
  [230, 190, 100],
  [250, 218, 150],
  [255, 247, 224],
];

function mix(from: number, to: number, part: number): number {
  return Math.round(from + (to - from) * part);
}
