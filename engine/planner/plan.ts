/** What a model at a length asks of a machine: bytes, operations, seconds, and whether it fits, in words. Pure. */
import { DENSE_BYTES } from "../attention/dense.ts";
import { STREAM_CACHE_BYTES, WASM_WEIGHT_BYTES } from "../models/memory.ts";
import type { Plan, PlanRequest } from "./api.ts";
import {
  allocatedContext,
  contextBytes,
  largestContext,
  layerTokenBytes,
  type CachedContext,
  type ContextAllocation,
} from "./contextBytes.ts";
import { isCounted } from "./pairs.ts";
import { decodeSeconds, prefillSeconds } from "./time.ts";
import { decodedContextBytes, prefillWork, totalFlops } from "./work.ts";
import { gpuWorkspace, wasmWorkspace, type Workspace } from "./workspace.ts";
import { sizeText, tokensText } from "./words.ts";

/** The plan of one way to read. Throws `bad-argument` where policy and cache formats do not go together. */
export function planFor(request: PlanRequest): Plan {
  const { spec, tokens, attention, kv, weights, positions } = request;
  const context: CachedContext = { tokens, attention, kv, copies: positions.copies };
  const sizes = sizesAt(request, tokens);
  const { allocation, work: space } = sizes;
  const needed = contextBytes(spec, context);
  const work = prefillWork(spec, tokens, attention.policy);
  const largestTokens = largestContext((count) => obstacleOf(request, sizesAt(request, count)) === undefined);
  const obstacle = obstacleOf(request, sizes);
  const seconds = prefillSeconds(request, space.chunkTokens);
  return {
    tokens,
    weightsBytes: weights.bytes,
    kvBytes: needed.bytes,
    kvAllocatedBytes: allocation.deviceBytes,
    kvHostBytes: allocation.hostBytes,
    kvBytesPerLayer: needed.layers,
    workspaceBytes: space.bytes,
    workspace: space.parts,
    totalBytes: total(request, sizes),
    prefillFlops: totalFlops(work),
    linearFlops: work.linearFlops,
    attentionFlops: work.attentionFlops,
    flopsAreExact: isCounted(attention.policy),
    prefillSeconds: seconds ?? null,
    decodeSecondsPerToken: decodeSeconds(request) ?? null,
    decodeBytesPerToken: weights.readBytes + decodedContextBytes(spec, context),
    fits: obstacle === undefined,
    largestTokens,
    because: [
      obstacle === undefined ? fitText(request, sizes) : obstacleText(request, sizes, obstacle, largestTokens),
      ...untimedText(request, seconds),
    ].join("; "),
  };
}

/** Why there is no time for this way to attend although there are rates. */
function untimedText({ attention: { policy }, rates }: PlanRequest, seconds: number | undefined): string[] {
  if (rates === undefined || seconds !== undefined) return [];
  if (rates.kind === "measured") return [`how fast ${policy.kind} attends was not measured`];
  if (rates.flops === undefined) return ["operations a second were not given"];
  return ["how fast keys come from host memory was not given"];
}

interface Sizes {
  allocation: ContextAllocation;
  work: Workspace & { bytes: number };
}

function sizesAt({ spec, attention, kv, weights, positions, device }: PlanRequest, tokens: number): Sizes {
  const maxBufferBytes = device.maxBufferBytes ?? Infinity;
  const context: CachedContext = { tokens, attention, kv, copies: positions.copies };
  const tokenBytes = spec.kind === "decoder" ? layerTokenBytes(spec, { rotation: "main" }, context) : 0;
  const work = (device.backend === "ort" ? wasmWorkspace : gpuWorkspace)(spec, {
    ...{ tokens, attention, maxBufferBytes, tokenBytes },
    bands: positions.bands,
    weightsBytes: weights.bytes,
  });
  return {
    allocation: allocatedContext(spec, context, { chunkTokens: work.chunkTokens, maxBufferBytes }),
    work: { ...work, bytes: work.parts.reduce((sum, { bytes }) => sum + bytes, 0) },
  };
}

/** On the device; where keys are streamed the memory beside it is another. */
function total({ weights }: PlanRequest, { allocation, work }: Sizes): number {
  return weights.bytes + allocation.deviceBytes + work.bytes;
}

/** What is too small, with what it would have to hold and what it holds. */
interface Obstacle {
  what: "weights in WebAssembly" | "rows of scores" | "context" | "context in host memory" | "memory";
  needBytes: number;
  haveBytes: number;
}

/** The first thing that does not fit; undefined where all does. */
function obstacleOf(request: PlanRequest, sizes: Sizes): Obstacle | undefined {
  const { attention, weights, device } = request;
  const { backend, memoryBytes = Infinity } = device;
  const isStreamed = attention.policy.kind === "stream";
  // What is streamed has a bound of its own, and what is resident of it is small.
  const cacheBytes = isStreamed ? Infinity : (device.cacheBytes ?? Infinity);
  const { allocation, work } = sizes;
  const bounds: Obstacle[] = [
    { what: "weights in WebAssembly", needBytes: backend === "ort" ? weights.readBytes : 0, haveBytes: WASM_WEIGHT_BYTES },
    { what: "rows of scores", needBytes: work.scoreBytes, haveBytes: Math.min(DENSE_BYTES, device.maxBufferBytes ?? Infinity) },
    { what: "context", needBytes: allocation.deviceBytes, haveBytes: cacheBytes },
    { what: "context in host memory", needBytes: allocation.hostBytes, haveBytes: STREAM_CACHE_BYTES },
    { what: "memory", needBytes: total(request, sizes), haveBytes: memoryBytes },
  ];
  return bounds.find(({ needBytes, haveBytes }) => needBytes > haveBytes);
}

function obstacleText(
  request: PlanRequest,
  sizes: Sizes,
  { what, needBytes, haveBytes }: Obstacle,
  largestTokens: number,
): string {
  const { spec, tokens } = request;
  const fewer = largestTokens === 0 ? "no token would fit" : `${tokensText(largestTokens)} would fit`;
  const context = spec.kind === "decoder" ? "keys and values" : "states";
  const narrower = spec.kind === "decoder" ? "; narrower cache formats or a window make room for more" : "";
  switch (what) {
    case "weights in WebAssembly":
      return `the weights take ${sizeText(needBytes)} in WebAssembly, which holds ${sizeText(haveBytes)} of them: narrower weights or a GPU would do`;
    case "memory":
      return largestTokens === 0
        ? `${partsText(request, sizes)} take ${sizeText(needBytes)}, more than ${sizeText(haveBytes)}, and so would a single token: narrower weights or a smaller model would do`
        : `${partsText(request, sizes)} take ${sizeText(needBytes)}, more than ${sizeText(haveBytes)}: ${fewer}${narrower}`;
    case "rows of scores":
      return `rows of scores of one chunk take ${sizeText(needBytes)}, more than the ${sizeText(haveBytes)} they may have: ${fewer}; flash keeps none`;
    case "context":
      return `the ${context} of ${tokensText(tokens)} take ${sizeText(needBytes)} and the backend keeps ${sizeText(haveBytes)} of them: ${fewer}${narrower}`;
    case "context in host memory":
      return `the ${context} of ${tokensText(tokens)} take ${sizeText(needBytes)} of host memory and ${sizeText(haveBytes)} are kept there: ${fewer}${narrower}`;
  }
}

function fitText(request: PlanRequest, sizes: Sizes): string {
  const { memoryBytes } = request.device;
  const all = sizeText(total(request, sizes));
  const beside = sizes.allocation.hostBytes === 0 ? "" : `, and ${sizeText(sizes.allocation.hostBytes)} of host memory`;
  return `${partsText(request, sizes)} take ${memoryBytes === undefined ? all : `${all} of ${sizeText(memoryBytes)}`}${beside}`;
}

function partsText({ spec, weights }: PlanRequest, { allocation, work }: Sizes): string {
  const what = spec.kind === "decoder" ? "keys and values" : "state with copies to go back to";
  return `${sizeText(weights.bytes)} of weights, ${sizeText(allocation.deviceBytes)} of ${what} and ${sizeText(work.bytes)} of workspace`;
}
