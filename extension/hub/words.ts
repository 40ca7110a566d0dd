/** Sizes, speeds and times as people read them. */

const UNITS: readonly (readonly [number, string])[] = [
  [1e9, "GB"],
  [1e6, "MB"],
  [1e3, "kB"],
];

/** "7.9 MB", "1.25 GB", "812 B": in thousands, as hubs and file managers show sizes. */
export function bytesText(bytes: number): string {
  for (const [size, unit] of UNITS) if (bytes >= size) return `${significant(bytes / size)} ${unit}`;
  return `${bytes} B`;
}

/** "12 MB/s". */
export function speedText(bytesPerSecond: number): string {
  return `${bytesText(Math.round(bytesPerSecond))}/s`;
}

/** "8 s left", "3 min left", "2 h 5 min left". */
export function leftText(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s left`;
  const minutes = Math.ceil(whole / 60);
  return minutes < 60 ? `${minutes} min left` : `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
}

/** Three digits at most: 1.25, 12.5, 125. */
function significant(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits).replace(/\.0+$|(?<=\.\d)0$/, "");
}
