/** Numbers and facts in words, the same everywhere. Pure. */
import type { BackendKind } from "../../engine/api.ts";
import type { AskResult, Citation } from "../../engine/generate/api.ts";

const whole = new Intl.NumberFormat("en");

/** 45,210 */
export function exact(count: number): string {
  return whole.format(count);
}

/** 3.1K, 912, 1.2M */
export function short(count: number): string {
  if (count < 1000) return exact(Math.round(count));
  return count < 999_950 ? `${(count / 1000).toFixed(1)}K` : `${(count / 1e6).toFixed(1)}M`;
}

/** 42 files, 1 file */
export function plural(count: number, noun: string): string {
  return `${exact(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** 0.4 s, 12 s, 2 min 5 s */
export function duration(elapsedMs: number): string {
  const seconds = elapsedMs / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** 61 %; below one per cent it says so. */
export function percent(share: number): string {
  const value = share * 100;
  if (value > 0 && value < 1) return "< 1 %";
  return `${value.toFixed(0)} %`;
}

/** A message as a sentence: errors are written in lower case and without a full stop. */
export function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/** A backend in words a person knows. */
export function backendName({ backend }: { backend: BackendKind }): string {
  return { wgsl: "WebGPU", ort: "WASM", reference: "plain loops" }[backend];
}

/** src/net/backoff.ts:5, or :5-7; only the path where no lines are known. */
export function placeText({ path, startLine, endLine }: Pick<Citation, "path" | "startLine" | "endLine">): string {
  if (startLine < 1) return path === "" ? "no file" : path;
  return `${path}:${endLine > startLine ? `${startLine}-${endLine}` : `${startLine}`}`;
}

/** Why an answer ends where it does; undefined where the model ended it. */
export function stopText({ stoppedBy }: Pick<AskResult, "stoppedBy">): string | undefined {
  if (stoppedBy === "end") return undefined;
  return stoppedBy === "length"
    ? "Cut at the largest answer length; raise it in Inspect."
    : "Stopped by you; this is what was written until then.";
}

/** 7.8 MiB */
export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
