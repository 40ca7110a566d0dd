/**
 * Kernels and their pipelines. A kernel is a .wgsl file that is never edited at run time; what varies are constants, which come in front as
 * a generated prelude, so that the final text alone is the cache key. Bind-group layouts are explicit: binding 0 is the parameters,
 * then the buffers in the declared order.
 */
import { EngineError } from "../errors.ts";
import type { EngineDevice } from "./device.ts";

export type ParamType = "u32" | "f32";
export type BufferAccess = "read" | "read_write";
/** Optional features of WebGPU that kernels of ours use, as WGSL names them. */
export type ShaderFeature = "f16" | "subgroups" | "chromium_experimental_subgroup_matrix";

/** Declaration of one .wgsl file, or of several behind each other: its constants, its `struct Params` and its buffers, in the file's order. */
export interface Kernel<C extends string = string, P extends string = string, B extends string = string> {
  readonly name: string;
  readonly source: string;
  readonly features: readonly ShaderFeature[];
  readonly consts: readonly C[];
  readonly params: Readonly<Record<P, ParamType>>;
  readonly buffers: Readonly<Record<B, BufferAccess>>;
}

/** A kernel compiled for its constants. */
export interface Program<P extends string = string, B extends string = string> {
  readonly id: number;
  readonly kernel: Kernel<string, P, B>;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Keeps the literal names of a declaration, which type every dispatch. */
export function kernel<C extends string, P extends string, B extends string>(declaration: {
  name: string;
  source: string;
  features?: readonly ShaderFeature[];
  consts?: readonly C[];
  params: Record<P, ParamType>;
  buffers: Record<B, BufferAccess>;
}): Kernel<C, P, B> {
  return { ...declaration, features: declaration.features ?? [], consts: declaration.consts ?? [] };
}

/** Compiles kernels, each final text once. */
export interface ShaderCache {
  program<C extends string, P extends string, B extends string>(
    kernel: Kernel<C, P, B>,
    consts: Record<C, number>,
  ): Promise<Program<P, B>>;
}

export function openShaderCache(gpu: EngineDevice): ShaderCache {
  const pipelines = new Map<string, Promise<{ id: number; pipeline: GPUComputePipeline; layout: GPUBindGroupLayout }>>();
  return {
    async program(declared, consts) {
      const text = finalText(declared, consts);
      let compiled = pipelines.get(text);
      if (compiled === undefined) {
        compiled = compile(gpu, declared, text, pipelines.size);
        pipelines.set(text, compiled);
      }
      return { kernel: declared, ...(await compiled) };
    },
  };
}

/** What the kernel enables and its constants as WGSL declarations, then its file as it is. */
export function finalText<C extends string>(declared: Kernel<C>, consts: Record<C, number>): string {
  const enabled = declared.features.map((name) => `enable ${name};\n`);
  const numbers = declared.consts.map((name) => `const ${name} = ${consts[name]}u;\n`);
  return [...enabled, ...numbers, declared.source].join("");
}

async function compile(gpu: EngineDevice, declared: Kernel, text: string, id: number) {
  const { device } = gpu;
  // The scope keeps an error with the kernel that made it; it is closed in the same turn, so others do not fall into it.
  device.pushErrorScope("validation");
  const layout = device.createBindGroupLayout({
    label: declared.name,
    entries: [
      { binding: 0, visibility: 4, buffer: { type: "uniform", hasDynamicOffset: true } },
      ...Object.values(declared.buffers).map((access, index) => ({
        binding: index + 1,
        visibility: 4,
        buffer: { type: access === "read" ? ("read-only-storage" as const) : ("storage" as const) },
      })),
    ],
  });
  const module = device.createShaderModule({ label: declared.name, code: text });
  const work = device.createComputePipelineAsync({
    label: declared.name,
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module, entryPoint: "main" },
  });
  const [scope, compiled] = await gpu.settle(Promise.allSettled([device.popErrorScope(), work]));
  gpu.check();
  const error = scope.status === "fulfilled" ? scope.value : undefined;
  if (error === null && compiled.status === "fulfilled") return { id, pipeline: compiled.value, layout };
  const reason: unknown = error ?? (compiled.status === "rejected" ? compiled.reason : "no reason given");
  const message = typeof reason === "object" && reason !== null && "message" in reason ? String(reason.message) : String(reason);
  throw new EngineError(
    "internal",
    `kernel ${declared.name} does not compile here: ${message}`,
    "choose the WASM backend and report this",
  );
}
