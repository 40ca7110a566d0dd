import { totalmem } from "node:os";
import type { BackendChoice, ModelSpec } from "../../engine/api.ts";
import { formatAttention } from "../../engine/attention/policy.ts";
import { F32_CACHE } from "../../engine/attention/wholeOnly.ts";
import { chooseBackend } from "../../engine/backends/choose.ts";
import { EngineError } from "../../engine/errors.ts";
import { probeAdapter } from "../../engine/gpu/device.ts";
import { formatKvFormats } from "../../engine/kv-cache/kvFormats.ts";
import { DEFAULT_CACHE_BYTES } from "../../engine/models/memory.ts";
import type { MeasuredRates, Plan, PlanDevice, PlanRequest, Rates } from "../../engine/planner/api.ts";
import { type OpenModel, RateKeeper } from "../../engine/planner/attentionTable.ts";
import type { MeasureRequest } from "../../engine/planner/measure.ts";
import { measureBackend } from "../../engine/planner/measureBackend.ts";
import { planFor } from "../../engine/planner/plan.ts";
import { type RingPlan, ringPlan } from "../../engine/planner/ring.ts";
import { channelsOf } from "../../engine/planner/time.ts";
import { everyWay, obstacleTo, type Way } from "../../engine/planner/ways.ts";
import { weightsByBits, type WeightBytes, weightsInWasm, weightsOnDevice } from "../../engine/planner/weightBytes.ts";
import { resolveRope } from "../../engine/position/choose.ts";
import { parseRope } from "../../engine/position/ropeJson.ts";
import type { Command } from "./args.ts";
import { checkAttends, ropeText } from "./model.ts";
import { jsonLine, type Output } from "./output.ts";
import { readPlannedModel, type PlannedModel } from "./plannedModel.ts";
import { planText } from "./planText.ts";
import { openRuntime } from "./runtime.ts";

type PlanCommand = Command & { name: "plan" };

/** One policy with one cache format; recurrent models have none. */
export interface PlannedLine {
  attention: string;
  kv: string | undefined;
  plan: Plan;
}

export interface Planned extends PlannedLine {
  model: PlannedModel;
  device: PlanDevice;
  backendBecause: string;
  rates: Rates | undefined;
  /** Why there is no time, or what it rests on. */
  timeBecause: string;
  ways: readonly PlannedLine[] | undefined;
  ring: RingPlan | undefined;
}

/** `lcp plan`: what a model at a length takes of memory and time, and what fits, before anything of it is loaded. */
export async function plan(command: PlanCommand, packageRoot: string, output: Output, signal: AbortSignal): Promise<void> {
  const model = await readPlannedModel(command.model, packageRoot, signal);
  checkAttends(command, model.spec);
  const planned = await planModel(command, model, packageRoot, signal);
  output.out(command.json ? jsonLine(asJson(planned)) : planText(planned));
}

async function planModel(command: PlanCommand, model: PlannedModel, packageRoot: string, signal: AbortSignal): Promise<Planned> {
  const { spec } = model;
  const { tokens, attention } = command;
  const asked: Way = { attention, kv: command.kv ?? F32_CACHE };
  const { device, because, measure } = await openMachine(command, asked, model, packageRoot);
  const ways = command.all ? everyWay(spec, device.backend, attention) : [];
  const time = await ratesOf(command, [asked, ...ways], { ...model, ...command, device, measure }, signal);
  const weights = weightsOf(command, model, device);
  const choice = parseRope(await ropeText(command.rope), spec);
  const planned = (way: Way): { way: PlannedLine; request: PlanRequest } => {
    const { plan: positions } = resolveRope(choice, spec, tokens, tokens, way.attention);
    const counts = { bands: positions.bands.length, copies: positions.copies.length };
    const request = { spec, tokens, weights, device, rates: time.rates, positions: counts, ...way };
    const kv = spec.kind === "decoder" ? formatKvFormats(way.kv) : undefined;
    return { way: { attention: formatAttention(way.attention), kv, plan: planFor(request) }, request };
  };
  const { way, request } = planned(asked);
  return {
    ...way,
    ...{ model, device, backendBecause: because, rates: time.rates, timeBecause: time.because },
    ways: command.all ? ways.map((one) => planned(one).way) : undefined,
    ring: command.ring && ringOf(command, request),
  };
}

/** The machine that is planned for, and how it would be measured. */
interface Machine {
  device: PlanDevice;
  because: string;
  measure: (request: MeasureRequest) => Promise<MeasuredRates>;
}

async function openMachine(command: PlanCommand, asked: Way, { spec }: PlannedModel, packageRoot: string): Promise<Machine> {
  const { backend, memoryBytes } = command;
  if (backend === "reference") {
    throw new EngineError(
      "bad-argument",
      "the reference backend is not planned for: it is there to be compared with",
      "choose auto, wgsl or ort",
    );
  }
  const runtime = await openRuntime(backend, packageRoot);
  const chosen = await chosenBackend(backend, asked, spec, runtime.gpu);
  const limits = runtime.gpu === undefined ? undefined : (await probeAdapter(runtime.gpu))?.limits;
  return {
    device: {
      backend: chosen.kind,
      memoryBytes: memoryBytes ?? totalmem(),
      cacheBytes: memoryBytes === undefined ? DEFAULT_CACHE_BYTES : undefined,
      maxBufferBytes: limits && Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize),
    },
    because: chosen.because,
    measure: (request) => measureBackend(chosen.kind, runtime, request),
  };
}

/** The backend a question would take; WebGPU where WASM cannot attend or cache as asked. Throws what neither can. */
async function chosenBackend(
  backend: Exclude<BackendChoice, "reference">,
  asked: Way,
  spec: ModelSpec,
  gpu: GPU | undefined,
): Promise<{ kind: "wgsl" | "ort"; because: string }> {
  // A plan for WebGPU needs no adapter here.
  const chosen = backend === "wgsl" ? { kind: "wgsl" as const, because: "chosen by you" } : await chooseBackend(backend, gpu);
  const kind = chosen.kind === "wgsl" ? "wgsl" : "ort";
  const obstacle = obstacleTo(asked, spec, kind);
  if (obstacle === undefined) return { kind, because: chosen.because };
  if (backend !== "auto" || obstacleTo(asked, spec, "wgsl") !== undefined) throw obstacle;
  return { kind: "wgsl", because: `${obstacle.message}, so this is for WebGPU; ${chosen.because}` };
}

/** Rates that were given, or those of this machine; and what times rest on in words. */
async function ratesOf(
  { flops, bytesPerSecond, measure }: PlanCommand,
  ways: readonly Way[],
  model: OpenModel,
  signal: AbortSignal,
): Promise<{ rates: Rates | undefined; because: string }> {
  if (flops !== undefined || bytesPerSecond !== undefined)
    return { rates: { kind: "stated", flops, bytesPerSecond }, because: "at the rates that were given" };
  if (!measure) return { rates: undefined, because: "not estimated: nothing was measured and no rates were given" };
  return new RateKeeper().rates(model, ways, signal);
}

function weightsOf({ bits, weightFormat }: PlanCommand, { spec, formatOf }: PlannedModel, { backend }: PlanDevice): WeightBytes {
  if (bits !== undefined) return weightsByBits(spec, bits);
  return backend === "ort" ? weightsInWasm(spec, formatOf, weightFormat) : weightsOnDevice(spec, formatOf, weightFormat);
}

function ringOf({ ring, attention: { policy }, flops }: PlanCommand, { spec, tokens, kv, rates }: PlanRequest): RingPlan {
  if (ring === undefined) throw new RangeError("no ring was asked for");
  if (spec.kind !== "decoder") throw withoutRing(spec);
  const rate = flops ?? (rates?.kind === "measured" ? measuredFlops(rates, spec) : undefined);
  if (rate === undefined) {
    throw new EngineError(
      "bad-argument",
      "a ring needs to know how fast a graphics card is",
      "give --flops, or let this machine be measured",
    );
  }
  const layout = policy.kind === "ring" ? policy.layout : "zigzag";
  return ringPlan({
    spec,
    tokens,
    kv,
    ranks: ring.ranks,
    layout,
    rates: { flops: rate, bytesPerSecond: ring.linkBytesPerSecond },
  });
}

/** Operations of attention a second. */
function measuredFlops({ attention }: MeasuredRates, spec: ModelSpec): number | undefined {
  const [first] = attention;
  return first === undefined || channelsOf(spec) === 0 ? undefined : 4 * first.prefill;
}

function withoutRing({ modelType }: ModelSpec): EngineError {
  return new EngineError("bad-argument", `${modelType} has no attention that a ring could share`, "leave --ranks and --link out");
}

/** The JSON contract: these fields are never renamed. */
function asJson({
  model,
  plan: found,
  attention,
  kv,
  device,
  backendBecause,
  rates,
  timeBecause,
  ways,
  ring,
}: Planned): Record<string, unknown> {
  return {
    model: model.label,
    modelType: model.spec.modelType,
    hasWeights: model.hasWeights,
    attention,
    kv,
    ...found,
    largestTokens: Number.isFinite(found.largestTokens) ? found.largestTokens : null,
    because: `${found.because}; time ${timeBecause}`,
    backend: device.backend,
    backendBecause,
    memoryBytes: device.memoryBytes,
    rates,
    policies: ways?.map(({ attention: policy, kv: formats, plan: one }) => ({
      attention: policy,
      kv: formats,
      kvBytes: one.kvBytes,
      kvAllocatedBytes: one.kvAllocatedBytes,
      workspaceBytes: one.workspaceBytes,
      prefillFlops: one.prefillFlops,
      flopsAreExact: one.flopsAreExact,
      prefillSeconds: one.prefillSeconds,
      decodeSecondsPerToken: one.decodeSecondsPerToken,
      decodeBytesPerToken: one.decodeBytesPerToken,
      fits: one.fits,
      largestTokens: Number.isFinite(one.largestTokens) ? one.largestTokens : null,
    })),
    ring,
  };
}
