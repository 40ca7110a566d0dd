/** What a model at a length asks of a machine: bytes, operations, seconds, and whether it fits, in words. Pure. */
import { WASM_WEIGHT_BYTES } from "../models/memory.ts";
import { allocatedContextBytes, contextBytes, largestContext, type CachedContext } from "./contextBytes.ts";
import { isCounted } from "./pairs.ts";
import type { Plan, PlanRequest } from "./api.ts";
import { decodeSeconds, prefillSeconds } from "./time.ts";
import { decodedContextBytes, prefillWork } from "./work.ts";
import { workspace } from "./workspace.ts";
import { sizeText, tokensText } from "./words.ts";

/** The plan of one way to read. */
export function planFor(request: PlanRequest): Plan {
  const { spec, tokens, attention, kv, weights, positions, device } = request;
  const context = (count: number): CachedContext => ({ tokens: count, attention, kv, copies: positions.copies });
  const { chunkTokens, parts } = workspace(spec, {
    attention,
    bands: positions.bands,
    maxBufferBytes: device.maxBufferBytes ?? Infinity,
  });
  const workspaceBytes = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  const needed = contextBytes(spec, context(tokens));
  const allocated = (count: number): number => allocatedContextBytes(spec, context(count), chunkTokens);
  const work = prefillWork(spec, tokens, attention.policy);
  const prefill = prefillSeconds(request, chunkTokens);
  const decode = decodeSeconds(request);
  const sizes: Sizes = { weightsBytes: weights.bytes, contextBytes: allocated(tokens), workspaceBytes };
  const largestTokens = largestContext(contextBudget(request, sizes), allocated);
  const obstacle = obstacleOf(request, sizes, largestTokens);
  return {
    tokens,
    weightsBytes: weights.bytes,
    kvBytes: needed.bytes,
    kvAllocatedBytes: sizes.contextBytes,
    kvBytesPerLayer: needed.layers,
    workspaceBytes,
    workspace: parts,
    totalBytes: total(sizes),
    prefillFlops: work.linearFlops + work.attentionFlops + work.recurrenceFlops,
    linearFlops: work.linearFlops,
    attentionFlops: work.attentionFlops,
    flopsAreExact: isCounted(attention.policy),
    prefillSeconds: prefill ?? null,
    decodeSecondsPerToken: decode ?? null,
    decodeBytesPerToken: weights.readBytes + decodedContextBytes(spec, context(tokens)),
    fits: obstacle === undefined,
    largestTokens,
    because: obstacle ?? `${partsText(request, sizes)} ${fitsText(request, sizes)}`,
  };
}

interface Sizes {
  weightsBytes: number;
  contextBytes: number;
  workspaceBytes: number;
}

function total({ weightsBytes, contextBytes: context, workspaceBytes }: Sizes): number {
  return weightsBytes + context + workspaceBytes;
}

/** Bytes left for the context. */
function contextBudget({ device }: PlanRequest, { weightsBytes, workspaceBytes }: Sizes): number {
  const left = (device.memoryBytes ?? Infinity) - weightsBytes - workspaceBytes;
  return Math.min(left, device.cacheBytes ?? Infinity);
}

/** Why it does not fit, and what would; undefined where it does. */
function obstacleOf(request: PlanRequest, sizes: Sizes, largestTokens: number): string | undefined {
  const { spec, tokens, weights, device } = request;
  const { backend, memoryBytes = Infinity, cacheBytes = Infinity } = device;
  if (backend === "ort" && weights.readBytes > WASM_WEIGHT_BYTES) {
    return `the weights take ${sizeText(weights.readBytes)} in WebAssembly, which holds ${sizeText(WASM_WEIGHT_BYTES)} of them: narrower weights or a GPU would do`;
  }
  const rest = sizes.weightsBytes + sizes.workspaceBytes;
  if (rest > memoryBytes) {
    return `weights and workspace alone take ${sizeText(rest)}, more than ${sizeText(memoryBytes)}: narrower weights or a smaller model would do`;
  }
  const what = spec.kind === "decoder" ? "keys and values" : "state";
  const fewer = largestTokens === 0 ? "no token would fit" : `${tokensText(largestTokens)} would fit`;
  const remedy = spec.kind === "decoder" ? "; narrower cache formats or a window make room for more" : "";
  if (sizes.contextBytes > cacheBytes) {
    return `the ${what} of ${tokensText(tokens)} take ${sizeText(sizes.contextBytes)} and the backend keeps ${sizeText(cacheBytes)} of them: ${fewer}${remedy}`;
  }
  if (total(sizes) <= memoryBytes) return undefined;
  return `${partsText(request, sizes)} are ${sizeText(total(sizes))}, more than ${sizeText(memoryBytes)}: ${fewer}${remedy}`;
}

function partsText({ spec }: PlanRequest, { weightsBytes, contextBytes: context, workspaceBytes }: Sizes): string {
  const what = spec.kind === "decoder" ? "keys and values" : "state, with the copies to go back to";
  return `${sizeText(weightsBytes)} of weights, ${sizeText(context)} of ${what} and ${sizeText(workspaceBytes)} of workspace`;
}

function fitsText({ device: { memoryBytes } }: PlanRequest, sizes: Sizes): string {
  return memoryBytes === undefined
    ? `are ${sizeText(total(sizes))}`
    : `are ${sizeText(total(sizes))} of ${sizeText(memoryBytes)}`;
}
