/** How a row of the Models view reads: short for the eye, as a sentence for a screen reader. No `vscode`, so that every word is tested. */
import { exactTokens, shortTokens } from "../budget/numbers.ts";
import type { DownloadProgress } from "../hub/downloadModel.ts";
import { bytesText, leftText, speedText } from "../hub/words.ts";
import type { EngineReport } from "../../webview/protocol/panel.ts";
import type { HubSource } from "./knownModels.ts";
import type { ModelState } from "./modelFacts.ts";

export interface ModelRow {
  path: string;
  label: string;
  origin: "bundled" | "disk" | "hub";
  /** Where a downloaded model came from. */
  source: HubSource | undefined;
  state: ModelState | { kind: "downloading"; progress: DownloadProgress | undefined };
  /** It is the one that the playground opens. */
  chosen: boolean;
  /** What the open playground's engine says of it; undefined while none is open, or for another model. */
  engine: EngineReport | undefined;
}

/** "loaded · llama · 131K context · bf16 · 2.47 GB". */
export function rowDescription(row: ModelRow): string {
  const { state } = row;
  const parts = [useWord(row), ...stateParts(state), "diskBytes" in state ? bytesText(state.diskBytes) : "", originWord(row)];
  return parts.filter((part) => part !== "").join(" · ");
}

/** The same in one sentence. */
export function rowSentence(row: ModelRow): string {
  const { state } = row;
  const parts = [row.label, "model", useWord(row) || "not loaded"];
  switch (state.kind) {
    case "ready":
      parts.push(`family ${state.family}`, `trained on ${exactTokens(state.contextTokens)} tokens`);
      parts.push(`weights stored as ${state.weights.format}`, `${bytesText(state.diskBytes)} on disk`);
      break;
    case "incomplete":
      parts.push(`downloaded ${bytesText(state.doneBytes)} of ${bytesText(state.totalBytes)}, stopped`);
      break;
    case "downloading":
      parts.push(state.progress ? `downloading, ${percent(state.progress)} percent` : "downloading");
      break;
    case "missing":
    case "unsupported":
      parts.push(`${stateWord(state.kind)}: ${state.problem.message}`);
  }
  parts.push(sourceWords(row));
  return parts.join(", ");
}

/** One fact about a model, as a row below its own. */
export interface ModelFact {
  name: string;
  value: string;
}

/** Every fact, what is wrong first and with its remedy. */
export function rowFacts({ path, state, source, origin, engine }: ModelRow): ModelFact[] {
  const facts: ModelFact[] = [];
  const add = (name: string, value: string): void => void facts.push({ name, value });
  if (state.kind === "missing" || state.kind === "unsupported") {
    add(capital(stateWord(state.kind)), state.problem.message);
    add("To do", state.problem.remedy);
  }
  if (engine?.status === "failed") add("Not opened", engine.message);
  if (engine?.status === "ready") add("Loaded on", `${engine.device}, weights as ${engine.weightFormat}`);
  if (state.kind === "incomplete") {
    add("Downloaded", `${bytesText(state.doneBytes)} of ${bytesText(state.totalBytes)}`);
    add("To do", "resume the download");
  }
  if (state.kind === "downloading" && state.progress) add("Downloading", progressText(state.progress));
  if (state.kind === "ready") {
    add("Family", state.family);
    add("Context", `trained on ${exactTokens(state.contextTokens)} tokens`);
    add("Weights", `${exactTokens(state.weights.parameterCount)} parameters, mostly ${state.weights.format}`);
  }
  if ("diskBytes" in state) add("Size on disk", bytesText(state.diskBytes));
  add("Source", sourceWords({ origin, source }));
  if (source !== undefined) {
    add("Licence", source.license ?? "not stated");
    add("Revision", `${source.revision}, commit ${source.commit.slice(0, 12)}`);
  }
  add("Path", path);
  return facts;
}

/** Every fact, one a line. */
export function rowTooltip(row: ModelRow): string {
  return [row.label, ...rowFacts(row).map(({ name, value }) => `${name}: ${value}`)].join("\n");
}

/** Name of the icon (a codicon) that shows the state. */
export function rowIcon({ state, chosen, engine }: ModelRow): string {
  switch (state.kind) {
    case "downloading":
      return "loading~spin";
    case "incomplete":
      return "cloud-download";
    case "missing":
    case "unsupported":
      return "warning";
    case "ready":
      if (engine?.status === "failed") return "error";
      return engine?.status === "ready" ? "pass-filled" : chosen ? "pass" : "package";
  }
}

/** What the menus of the manifest match: "model.hub.ready.chosen". */
export function rowContext({ origin, state, chosen }: ModelRow): string {
  return `model.${origin}.${state.kind}${chosen ? ".chosen" : ""}`;
}

/** "model.safetensors: 3.1 of 7.9 MB · 12 MB/s · 4 s left". */
export function progressText({ file, doneBytes, totalBytes, bytesPerSecond }: DownloadProgress): string {
  const parts = [`${file}: ${bytesText(doneBytes)} of ${bytesText(totalBytes)}`];
  if (bytesPerSecond > 0) parts.push(speedText(bytesPerSecond), leftText((totalBytes - doneBytes) / bytesPerSecond));
  return parts.join(" · ");
}

function useWord({ chosen, engine }: ModelRow): string {
  if (engine?.status === "ready") return "loaded";
  if (engine?.status === "starting") return "loading";
  if (engine?.status === "failed") return "not opened";
  return chosen ? "in use" : "";
}

function stateParts(state: ModelRow["state"]): string[] {
  switch (state.kind) {
    case "ready":
      return [state.family, `${shortTokens(state.contextTokens)} context`, state.weights.format];
    case "incomplete":
      return [`stopped at ${bytesText(state.doneBytes)} of ${bytesText(state.totalBytes)}`];
    case "downloading":
      return [state.progress ? `downloading ${percent(state.progress)} %` : "downloading"];
    case "missing":
    case "unsupported":
      return [stateWord(state.kind)];
  }
}

function stateWord(kind: "missing" | "unsupported"): string {
  return kind === "missing" ? "not there" : "cannot be opened";
}

function originWord({ origin }: ModelRow): string {
  return { bundled: "bundled", disk: "from disk", hub: "downloaded" }[origin];
}

function sourceWords({ origin, source }: Pick<ModelRow, "origin" | "source">): string {
  if (source !== undefined) return `downloaded from ${source.hub}/${source.repository}`;
  return origin === "bundled" ? "comes with the extension" : "read where it lies";
}

function percent({ doneBytes, totalBytes }: DownloadProgress): number {
  return totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
