import { plainError } from "../../engine/errors.ts";
import { type AdapterReport, probeAdapter } from "../../engine/gpu/device.ts";
import { chooseBackend } from "../../engine/backends/choose.ts";
import { openDawn } from "../adapter/dawn.ts";
import type { Command } from "./args.ts";
import { checkModel } from "./model.ts";
import { jsonLine, type Output } from "./output.ts";

type Found = { adapters: AdapterReport[]; how: string; gpu: GPU | undefined };

/** `lcp doctor`: what this machine offers, which backend a question would take and why, and whether the model can be read. */
export async function doctor(command: Command & { name: "doctor" }, packageRoot: string, output: Output): Promise<void> {
  const { adapters, how, gpu } = await findAdapters();
  const { kind: backend, because } = await chooseBackend("auto", gpu);
  const model = await modelCheck(command.model, packageRoot);
  const machine = `Node ${process.versions.node}, ${process.platform} ${process.arch}`;
  if (command.json) {
    output.out(jsonLine({ backend, because, adapters, how, machine, model }));
    return;
  }
  output.out(`${machine}\n`);
  for (const adapter of adapters) output.out(adapterText(adapter));
  output.out(`WebGPU: ${how}\n`);
  output.out(`backend: ${backend}, because ${because}\n`);
  output.out(`model: ${model.ok ? `${model.folder} (${model.kind})` : `${model.message} — ${model.remedy}`}\n`);
}

/** A driver that cannot even be asked is something to report here, not to fail on. */
async function findAdapters(): Promise<Found> {
  try {
    const dawn = await openDawn();
    if (!dawn) return { adapters: [], how: "no adapter on this machine", gpu: undefined };
    const adapter = await probeAdapter(dawn.gpu);
    return { adapters: adapter ? [adapter] : [], how: dawn.how, gpu: dawn.gpu };
  } catch (error) {
    return { adapters: [], how: `WebGPU for Node does not start: ${plainError(error).message}`, gpu: undefined };
  }
}

type ModelCheck = { ok: true; folder: string; kind: string } | { ok: false; message: string; remedy: string };

async function modelCheck(model: string | undefined, packageRoot: string): Promise<ModelCheck> {
  try {
    const { path, spec } = await checkModel(model, packageRoot, undefined);
    return {
      ok: true,
      folder: path,
      kind: `${spec.modelType}, ${spec.layerCount} layers, trained on ${spec.maxPositionEmbeddings} tokens`,
    };
  } catch (error) {
    const { message, remedy } = plainError(error);
    return { ok: false, message, remedy };
  }
}

function adapterText({ vendor, architecture, description, fallback, features, limits }: AdapterReport): string {
  const rows = Object.entries(limits).map(([name, value]) => `  ${name} ${value.toLocaleString("en-US")}\n`);
  const kind = fallback ? " (software)" : "";
  return `adapter: ${description || `${vendor} ${architecture}`}${kind}\n  features: ${features.join(", ")}\n${rows.join("")}`;
}
