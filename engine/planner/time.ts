/** How long reading and answering take, from the work and from what a device was measured to do. */
import type { DecoderSpec, ModelSpec } from "../api.ts";
import type { AttentionPolicy } from "../attention/api.ts";
import { openPace } from "../backends/wgsl/pace.ts";
import { formatKvFormats } from "../kv-cache/kvFormats.ts";
import type { AttentionKernel, ChunkTimes, MeasuredRates, PlanRequest } from "./api.ts";
import { contextBytes } from "./contextBytes.ts";
import {
  decodedContextBytes,
  decodedReads,
  prefillWork,
  totalFlops,
  selectionProducts,
  sumOverLayers,
  visitedPairs,
} from "./work.ts";

/** Seconds of reading the whole prompt; undefined where nothing is known of that. */
export function prefillSeconds(request: PlanRequest, chunkTokens: number): number | undefined {
  const { spec, tokens, attention, rates } = request;
  if (rates === undefined) return undefined;
  if (rates.kind === "stated") {
    // Nobody said how fast the way from host memory is.
    if (rates.flops === undefined || attention.policy.kind === "stream") return undefined;
    return totalFlops(prefillWork(spec, tokens, attention.policy)) / rates.flops;
  }
  const pairRate = attentionRate(request, rates);
  if (pairRate === undefined) return undefined;
  const chunkSeconds = (start: number, end: number): number => {
    const { policy } = attention;
    const products = sumOverLayers(spec, (window) => selectionProducts(policy, window, start, end));
    // A product of a query and a key is half of what a pair takes.
    const pairs = (visitedPairs(spec, policy, start, end) + products / 2) * channelsOf(spec);
    const attending = pairs === 0 ? 0 : pairs / pairRate.prefill;
    const layers = spec.layerCount * secondsAt(rates.layer, end - start);
    return secondsAt(rates.chunk, end - start) + layers + Math.max(attending, streamSeconds(request, rates, start));
  };
  const pace = rates.backend === "wgsl" ? openPace(spec.layerCount, chunkTokens) : steadyPace(rates, chunkSeconds);
  let seconds = 0;
  for (let start = 0; start < tokens;) {
    const end = Math.min(tokens, start + pace.chunkTokens);
    const took = chunkSeconds(start, end);
    pace.measured(end - start, 1000 * took);
    seconds += took;
    start = end;
  }
  return seconds + headSeconds(request, rates);
}

/** WASM comes to chunks of about this long. */
const WASM_CHUNK_SECONDS = 0.1;

/** The largest measured chunk of bounded time, all along: in WASM a token costs much the same in chunks of any size. */
function steadyPace({ layer }: MeasuredRates, chunkSeconds: (start: number, end: number) => number) {
  const sizes = layer.map(({ tokens }) => tokens);
  const chunkTokens = sizes.findLast((tokens) => chunkSeconds(0, tokens) <= WASM_CHUNK_SECONDS) ?? sizes[0] ?? 1;
  return { chunkTokens, measured: (): void => undefined };
}

/** Seconds of one token of the answer behind the prompt. */
export function decodeSeconds(request: PlanRequest): number | undefined {
  const { spec, tokens, attention, weights, kv, rates } = request;
  if (rates === undefined) return undefined;
  if (rates.kind === "stated") {
    if (rates.bytesPerSecond === undefined || attention.policy.kind === "stream") return undefined;
    const context = decodedContextBytes(spec, { tokens, attention, kv, copies: 1 });
    return (weights.readBytes + context) / rates.bytesPerSecond;
  }
  const pairRate = attentionRate(request, rates);
  if (pairRate === undefined) return undefined;
  const { layerSeconds, seconds } = rates.step;
  const pairs = decodedPairs(request) * channelsOf(spec);
  const attending = pairs === 0 ? 0 : pairs / pairRate.decode;
  const reading = Math.max(attending, streamSeconds(request, rates, tokens));
  return spec.layerCount * layerSeconds + seconds + headSeconds(request, rates) + reading;
}

/** Keys and values in front of `start` come from host memory while others are attended to; 0 where they are resident. */
function streamSeconds({ spec, attention, kv, positions }: PlanRequest, { uploadBytes }: MeasuredRates, start: number): number {
  if (attention.policy.kind !== "stream" || uploadBytes === undefined) return 0;
  return contextBytes(spec, { tokens: start, attention, kv, copies: positions.copies }).bytes / uploadBytes;
}

function headSeconds({ spec }: PlanRequest, { matmulFlops }: MeasuredRates): number {
  return (2 * spec.hiddenSize * spec.vocabSize) / matmulFlops.head;
}

/** Pairs of the decoded token and a key; a bound of a page costs about as much. */
function decodedPairs({ spec, tokens, attention }: PlanRequest): number {
  if (spec.kind !== "decoder") return 0;
  let pairs = 0;
  for (const layer of spec.layers.keys()) {
    const { keys, bounds } = decodedReads(spec, layer, { tokens, attention });
    pairs += keys + bounds;
  }
  return pairs;
}

/** Measured for the kernel and the cache formats of the request; recurrent models need none. */
function attentionRate(
  { spec, attention, kv }: PlanRequest,
  rates: MeasuredRates,
): { prefill: number; decode: number } | undefined {
  if (spec.kind !== "decoder") return { prefill: Infinity, decode: Infinity };
  const kernel = kernelOf(attention.policy);
  return rates.attention.find((found) => found.kernel === kernel && formatKvFormats(found.kv) === formatKvFormats(kv));
}

/** Which kernel a policy runs on. */
export function kernelOf({ kind }: AttentionPolicy): AttentionKernel {
  return kind === "dense" || kind === "flash3" ? kind : "flash";
}

/** Channels of all query heads: a pair of a query and a key costs in proportion. */
export function channelsOf(spec: ModelSpec): number {
  return spec.kind === "decoder" ? channelsOfHeads(spec) : 0;
}

function channelsOfHeads({ headCount, headDim }: DecoderSpec): number {
  return headCount * headDim;
}

/** Seconds of a chunk between the measured sizes, along straight lines; beyond the last as its last line goes on, but never less. */
export function secondsAt(times: ChunkTimes, tokens: number): number {
  const [first] = times;
  if (first === undefined) return 0;
  const above = times.findIndex((point) => point.tokens >= tokens);
  if (above === 0 || times.length === 1) return (first.seconds * tokens) / first.tokens;
  const [low, high] = above < 0 ? times.slice(-2) : [times[above - 1], times[above]];
  const slope = Math.max(0, (high.seconds - low.seconds) / (high.tokens - low.tokens));
  return low.seconds + slope * (tokens - low.tokens);
}
