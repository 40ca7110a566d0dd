import { totalmem } from "node:os";
import { EngineError } from "../../engine/errors.ts";
import { backendFor, type ChosenBackend } from "../../engine/backends/choose.ts";
import { type DeviceFacts, preflight, type Sentence } from "../../engine/models/preflight.ts";
import type { AdapterOffer } from "../../webview/protocol/panel.ts";
import { backendSetting } from "../config.ts";
import type { PlaygroundPanel } from "../panel/playgroundPanel.ts";
import type { ReadModel } from "./modelFacts.ts";

/** What this machine is to a model: what the open playground's page says of WebGPU, and the machine's memory. */
export async function deviceFacts(panel: Pick<PlaygroundPanel, "isOpen" | "call">): Promise<DeviceFacts> {
  const offer = await adapterOffer(panel);
  const adapter = typeof offer === "object" ? offer : undefined;
  return {
    backend: offer === undefined ? undefined : backendOrWhyNot(offer),
    name: adapter && (adapter.description || `${adapter.vendor} ${adapter.architecture}`.trim()),
    maxBindingBytes: adapter?.maxBindingBytes,
    memoryBytes: totalmem(),
  };
}

/** The preflight of a model as it is shown. */
export async function preflightOf(model: ReadModel, panel: Pick<PlaygroundPanel, "isOpen" | "call">): Promise<Sentence[]> {
  return preflight(model.spec, model.weights, await deviceFacts(panel));
}

/** The sentences as a document: long enough that a list would cut them off. */
export function preflightDocument(label: string, sentences: readonly Sentence[]): string {
  const lines = sentences.map(({ topic, text }) => (topic === "warning" ? `- **Does not fit:** ${text}` : `- ${text}`));
  return [`# ${label} on this machine`, "", ...lines, ""].join("\n");
}

/** A choice of the user that cannot be honoured is what will happen: it will fail, and why. */
function backendOrWhyNot(offer: AdapterOffer): ChosenBackend {
  const choice = backendSetting();
  try {
    return backendFor(choice, offer);
  } catch (error) {
    if (!EngineError.is(error, "no-adapter")) throw error;
    return { kind: "wgsl", because: `you chose it, but ${error.message}; ${error.remedy}` };
  }
}

/** Undefined while no playground is open, or where it was closed or loaded again while it was asked. */
async function adapterOffer(panel: Pick<PlaygroundPanel, "isOpen" | "call">): Promise<AdapterOffer | undefined> {
  if (!panel.isOpen) return undefined;
  try {
    return (await panel.call("panel/adapter", {})).offer;
  } catch (error) {
    if (EngineError.is(error, "aborted") || EngineError.is(error, "not-found")) return undefined;
    throw error;
  }
}
