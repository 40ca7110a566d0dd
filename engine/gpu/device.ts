/** The one place that asks for an adapter and a device: limits, errors nobody waited for, and loss. */
import { EngineError } from "../errors.ts";

declare global {
  /** It is an Event everywhere; the WebGPU types know that only where the DOM's are loaded. */
  interface GPUUncapturedErrorEvent {
    preventDefault(): void;
  }
}

/** What an adapter offers, as plain data. */
export interface AdapterReport {
  vendor: string;
  architecture: string;
  description: string;
  /** A software adapter, which is slow but right. */
  fallback: boolean;
  features: string[];
  limits: Record<LimitName, number>;
}

const limitNames = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupsPerDimension",
] as const;
export type LimitName = (typeof limitNames)[number];

/** The least a WebGPU implementation must offer. Our kernels need no more; larger buffers are asked for, and workgroup memory for matrix units. */
export const minimumLimits = { maxStorageBufferBindingSize: 128 * 2 ** 20, maxBufferSize: 256 * 2 ** 20 } as const;

/** Subgroup matrices, which browsers offer where experiments are allowed. */
const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix" as GPUFeatureName;
/** Optional features that variants of kernels use; a device has those that its adapter offers. */
export const optionalFeatures = ["shader-f16", "subgroups", SUBGROUP_MATRIX] as const;
/** WGSL's small integer dot products, which are part of the language where they are there at all. */
const INTEGER_PRODUCTS = "packed_4x8_integer_dot_product";

/** What a device can do besides what every one can. */
export interface DeviceAbilities {
  /** A software adapter. */
  readonly software: boolean;
  readonly f16: boolean;
  readonly subgroups: boolean;
  readonly integerProducts: boolean;
  /** Shapes of subgroup matrices that sum in f32; empty where there are none. */
  readonly matrixUnits: readonly MatrixUnit[];
}

/** Products [rows, columns] of elements [rows, depth] and [depth, columns] by one subgroup, summed in f32. */
export interface MatrixUnit {
  element: "f16" | "f32";
  rows: number;
  columns: number;
  depth: number;
  /** Invocations of a subgroup. */
  subgroup: number;
}

/** What the adapter's info has where it offers subgroup matrices; the types of WebGPU do not know it yet. */
interface SubgroupMatrixInfo extends GPUAdapterInfo {
  readonly subgroupMatrixConfigs?: Iterable<{
    componentType: string;
    resultComponentType: string;
    M: number;
    N: number;
    K: number;
  }>;
}

/** A device that never loses an error: `settle` and `check` raise what went wrong since, and loss ends every wait. */
export interface EngineDevice {
  readonly device: GPUDevice;
  /** Adapter in words, e.g. "Apple M3 (WebGPU)". */
  readonly description: string;
  /** Largest buffer that can be bound as storage, in bytes: the smaller of the two limits. */
  readonly maxBufferBytes: number;
  readonly abilities: DeviceAbilities;
  /** Settles when the device is gone. */
  readonly lost: Promise<void>;
  /** The value of `work`, or the EngineError that made it impossible: device loss, or a GPU error that nobody caught. */
  settle<T>(work: Promise<T>): Promise<T>;
  /** Throws what went wrong on the device, if anything did. */
  check(): void;
  destroy(): void;
}

/** The adapter this machine would use, or undefined where WebGPU has none. */
export async function probeAdapter(gpu: GPU): Promise<AdapterReport | undefined> {
  const adapter = await requestAdapter(gpu);
  if (adapter === null) return undefined;
  const limits = Object.fromEntries(limitNames.map((name) => [name, adapter.limits[name]])) as Record<LimitName, number>;
  const { vendor, architecture, description, isFallbackAdapter } = adapter.info;
  return { vendor, architecture, description, fallback: isFallbackAdapter, features: [...adapter.features].sort(), limits };
}

/** A device with the largest buffers and the optional features that the adapter offers, or with WebGPU's guaranteed minimum. Throws `no-adapter`. */
export async function openDevice(gpu: GPU, options: { minimumLimits?: boolean } = {}): Promise<EngineDevice> {
  const adapter = await requestAdapter(gpu);
  if (adapter === null) {
    throw new EngineError(
      "no-adapter",
      "WebGPU has no adapter on this machine",
      "choose the WASM backend, or on Linux start VS Code with --enable-unsafe-webgpu --enable-features=Vulkan",
    );
  }
  const features = options.minimumLimits ? [] : optionalFeatures.filter((name) => adapter.features.has(name));
  const { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize } = adapter.limits;
  const wanted = options.minimumLimits
    ? minimumLimits
    : {
        ...{ maxStorageBufferBindingSize, maxBufferSize },
        // Matrix units take queries and keys from there.
        ...(features.includes(SUBGROUP_MATRIX) ? { maxComputeWorkgroupStorageSize } : {}),
      };
  const device = await adapter.requestDevice({ requiredLimits: wanted, requiredFeatures: features, label: "long-context" });
  const abilities = {
    software: adapter.info.isFallbackAdapter,
    f16: features.includes("shader-f16"),
    subgroups: features.includes("subgroups"),
    integerProducts: !options.minimumLimits && gpu.wgslLanguageFeatures.has(INTEGER_PRODUCTS),
    matrixUnits: features.includes(SUBGROUP_MATRIX) ? matrixUnitsOf(adapter.info, features.includes("shader-f16")) : [],
  };
  return watchDevice(device, adapter.info, Math.min(wanted.maxBufferSize, wanted.maxStorageBufferBindingSize), abilities);
}

/** Shapes that kernels can count on: subgroups are all of one size, so that invocations know which one they are in. */
export function matrixUnitsOf(info: SubgroupMatrixInfo, hasF16: boolean): MatrixUnit[] {
  const { subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs = [] } = info;
  if (subgroupMinSize === undefined || subgroupMinSize !== subgroupMaxSize) return [];
  const units: MatrixUnit[] = [];
  for (const { componentType: element, resultComponentType, M: rows, N: columns, K: depth } of subgroupMatrixConfigs) {
    if (resultComponentType !== "f32" || (element !== "f32" && !(element === "f16" && hasF16))) continue;
    units.push({ element, rows, columns, depth, subgroup: subgroupMinSize });
  }
  return units;
}

async function requestAdapter(gpu: GPU): Promise<GPUAdapter | null> {
  return gpu.requestAdapter({ powerPreference: "high-performance" });
}

function watchDevice(device: GPUDevice, info: GPUAdapterInfo, maxBufferBytes: number, abilities: DeviceAbilities): EngineDevice {
  let failure: EngineError | undefined;
  const waiting = new Set<(error: EngineError) => void>();
  const fail = (error: EngineError): void => {
    failure ??= error;
    for (const reject of waiting) reject(failure);
    waiting.clear();
  };
  const lost = device.lost.then((reason) => fail(lostError(reason.message)));
  device.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    fail(gpuError(event.error));
  });
  const check = (): void => {
    if (failure !== undefined) throw failure;
  };
  return {
    device,
    description: `${adapterWords(info)} (WebGPU)`,
    maxBufferBytes,
    abilities,
    lost,
    check,
    settle: <T>(work: Promise<T>): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        if (failure !== undefined) {
          reject(failure);
          return;
        }
        waiting.add(reject);
        const done = (finish: () => void): void => {
          waiting.delete(reject);
          finish();
        };
        work.then(
          (value) => done(() => (failure === undefined ? resolve(value) : reject(failure))),
          (error: unknown) => done(() => reject(failure ?? interrupted(error))),
        );
      }),
    destroy: () => device.destroy(),
  };
}

/** A wait that WebGPU ended by itself: only losing the device does that to ours. */
function interrupted(error: unknown): Error {
  if (error instanceof EngineError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const name = error instanceof Error ? error.name : "";
  return name === "AbortError" || name === "OperationError" ? lostError(message) : gpuError({ message });
}

function lostError(message: string): EngineError {
  return new EngineError(
    "device-lost",
    `the graphics device was lost (${message || "no reason given"})`,
    "ask again: the model is reopened",
  );
}

function gpuError(error: { message: string }): EngineError {
  return new EngineError(
    "internal",
    `the graphics device refused a command: ${error.message.split("\n")[0] ?? ""}`,
    "choose the WASM backend and report this",
  );
}

function adapterWords(info: GPUAdapterInfo): string {
  return (
    info.description ||
    info.device ||
    [info.vendor, info.architecture].filter((word) => word !== "").join(" ") ||
    "unnamed adapter"
  );
}
