/** Figures of a plan for people. */

/** In the units that hubs show sizes of files in: 1 GB is 10⁹ bytes. */
export function sizeText(bytes: number): string {
  if (bytes >= 1e9) return `${short(bytes / 1e9)} GB`;
  if (bytes >= 1e6) return `${short(bytes / 1e6)} MB`;
  return `${short(bytes / 1e3)} kB`;
}

export function tokensText(tokens: number): string {
  return `${tokens.toLocaleString("en-US")} ${tokens === 1 ? "token" : "tokens"}`;
}

export function flopsText(flops: number): string {
  const [unit, size] = flops >= 1e15 ? ["PFLOP", 1e15] : flops >= 1e12 ? ["TFLOP", 1e12] : ["GFLOP", 1e9];
  return `${short(flops / size)} ${unit}`;
}

export function secondsText(seconds: number): string {
  if (seconds >= 120) return `${short(seconds / 60)} min`;
  return seconds >= 1 ? `${short(seconds)} s` : `${short(1000 * seconds)} ms`;
}

function short(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : Number(value.toPrecision(2)).toString();
}
