import { plainError } from "../../engine/errors.ts";
import { type AdapterReport, openDevice, probeAdapter } from "../../engine/gpu/device.ts";
import { chooseVariants, type VariantReport } from "../../engine/gpu/selfTest.ts";
import { openShaderCache } from "../../engine/gpu/shader.ts";
import { chooseBackend } from "../../engine/backends/choose.ts";
import { openDawn } from "../adapter/dawn.ts";
import type { Command } from "./args.ts";
import { checkModel } from "./model.ts";
import { jsonLine, type Output } from "./output.ts";

interface Found {
  adapters: AdapterReport[];
  how: string;
  gpu: GPU | undefined;
  /** Kernels for products that the adapter was tried with, fast ones included. */
  variants: readonly VariantReport[];
}

/** `lcp doctor`: what this machine offers, which backend a question would take and why, and whether the model can be read. */
export async function doctor(command: Command & { name: "doctor" }, packageRoot: string, output: Output): Promise<void> {
  const { adapters, how, gpu, variants } = await findAdapters();
  const { kind: backend, because } = await chooseBackend("auto", gpu);
  const model = await modelCheck(command.model, packageRoot);
  const machine = `Node ${process.versions.node}, ${process.platform} ${process.arch}`;
  if (command.json) {
    output.out(jsonLine({ backend, because, adapters, how, variants, machine, model }));
    return;
  }
  output.out(`${machine}\n`);
  for (const adapter of adapters) output.out(adapterText(adapter));
  output.out(`WebGPU: ${how}\n`);
  for (const { variant, used, because: why } of variants)
    output.out(`  ${variant}: ${used ? "used" : "not used"}, because ${why}\n`);
  output.out(`backend: ${backend}, because ${because}\n`);
  output.out(`model: ${model.ok ? `${model.folder} (${model.kind})` : `${model.message} — ${model.remedy}`}\n`);
}

/** A driver that cannot even be asked is something to report here, not to fail on. */
async function findAdapters(): Promise<Found> {
  try {
    const dawn = await openDawn();
    if (!dawn) return { adapters: [], how: "no adapter on this machine", gpu: undefined, variants: [] };
    const adapter = await probeAdapter(dawn.gpu);
    return { adapters: adapter ? [adapter] : [], how: dawn.how, gpu: dawn.gpu, variants: await trials(dawn.gpu) };
  } catch (error) {
    return { adapters: [], how: `WebGPU for Node does not start: ${plainError(error).message}`, gpu: undefined, variants: [] };
  }
}

/** What the self-test says of the kernels that not every device has; asked as for fast products, so that all are tried. */
async function trials(gpu: GPU): Promise<readonly VariantReport[]> {
  const device = await openDevice(gpu);
  try {
    return (await chooseVariants(device, openShaderCache(device), "fast")).reports;
  } finally {
    device.destroy();
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
