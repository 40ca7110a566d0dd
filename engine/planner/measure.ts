/**
 * What a backend does a second with the shapes of a model, measured through its own Runner in about a second: chunks of a probe with the
 * model's layer, and of probes that have only attention and what a chunk costs whatever its size. No figure of any machine is built in.
 */
import type { MatmulPrecision, ModelSpec, Runner, RunnerOptions, WeightFormat } from "../api.ts";
import type { KvFormats } from "../attention/api.ts";
import { throwIfAborted } from "../errors.ts";
import type { AttentionKernel, ChunkTimes, MeasuredRates } from "./api.ts";
import { layerProbe, NARROW_VOCABULARY, narrowProbe, probeWeights } from "./probe.ts";
import { channelsOf } from "./time.ts";
import { layerMatrixNumbers, type FormatOf } from "./weightBytes.ts";
import { visitedPairs } from "./work.ts";

export interface MeasureRequest {
  spec: ModelSpec;
  formatOf: FormatOf;
  weightFormat: WeightFormat;
  products?: MatmulPrecision;
  /** Ways to attend whose rates are wanted. */
  attention: readonly { kernel: AttentionKernel; kv: KvFormats }[];
  signal?: AbortSignal;
}

/** Opens a probe on the backend. */
export type OpenProbe = (options: RunnerOptions) => Promise<Runner>;

/** Longest time of one chunk of a probe; on a slow device chunks stay small. */
const CHUNK_SECONDS = 0.15;
/** Time for all chunks of one size, and for the ascent to longer contexts. */
const SIZE_SECONDS = 0.08;
const ASCENT_SECONDS = 0.25;
const CHUNK_TOKENS = [64, 128, 256, 512] as const;
const PROBE_TOKENS = 8192 + 512;
/** Layers of the narrow probe that is compared with one of a single layer. */
const MANY = 5;

/** Rates of the backend that `open` opens runners on; the copies of a device are measured apart. Throws what opening throws, and `aborted`. */
export async function measureRates(
  open: OpenProbe,
  request: MeasureRequest,
): Promise<Omit<MeasuredRates, "copyBytes" | "uploadBytes" | "readbackBytes">> {
  const began = performance.now();
  const { spec, signal } = request;
  // Layer 0 of RWKV-7 is unlike the others.
  const wholeLayers = spec.kind === "rwkv7" ? 2 : 1;
  const [first = { kernel: "flash" as const, kv: F32 }] = request.attention;
  const whole = await openProbe(open, request, layerProbe(spec, wholeLayers), request.formatOf, first.kv);
  const wholeStep = await stepSeconds(whole);
  const headSeconds = await sampleSeconds(whole);
  const wholeTimes = await chunkTimes(whole, wholeStep, signal);
  const { device, kind } = whole;
  whole.dispose();
  const single = await openProbe(open, request, narrowProbe(spec, 1), undefined, first.kv);
  const sizes = wholeTimes.map(({ tokens }) => tokens);
  const one = {
    step: await stepSeconds(single),
    sample: await sampleSeconds(single),
    chunks: await timesOf(single, sizes, signal),
  };
  single.dispose();
  const several = await openProbe(open, request, narrowProbe(spec, MANY), undefined, first.kv);
  const many = { step: await stepSeconds(several), chunks: await timesOf(several, sizes, signal) };
  const attention: MeasuredRates["attention"][number][] = [];
  for (const way of spec.kind === "decoder" ? request.attention : []) {
    const runner =
      way === first ? several : await openProbe(open, request, narrowProbe(spec, MANY), undefined, way.kv, way.kernel);
    attention.push({ ...way, ...(await attentionRates(runner, spec, sizes, signal)) });
    if (runner !== several) runner.dispose();
  }
  several.dispose();

  const base = (ofOne: number, ofMany: number): number => Math.max(0, (MANY * ofOne - ofMany) / (MANY - 1));
  const chunk = sizes.map((tokens) => ({ tokens, seconds: base(secondsOf(one.chunks, tokens), secondsOf(many.chunks, tokens)) }));
  const seconds = base(one.step, many.step);
  const attended = (tokens: number): number => {
    const pairs = visitedPairs(layerProbe(spec, wholeLayers), { kind: "flash" }, 0, tokens) * channelsOf(spec);
    return pairs === 0 ? 0 : pairs / (attention[0]?.prefill ?? Infinity);
  };
  const least = LEAST_SHARE / wholeLayers;
  const layer = wholeTimes.map(({ tokens, seconds: took }) => {
    const rest = took - secondsOf(chunk, tokens) - attended(tokens);
    return { tokens, seconds: Math.max(rest / wholeLayers, took * least) };
  });
  const headTime = Math.max(headSeconds - one.sample, headSeconds * LEAST_SHARE);
  const layerSeconds = Math.max((wholeStep - seconds - headTime) / wholeLayers, wholeStep * least);
  const largest = layer.at(-1) ?? { tokens: 1, seconds: layerSeconds };
  const layerFlops = (2 * layerMatrixNumbers(spec)) / spec.layerCount;
  const headNumbers = (layerProbe(spec, 1).vocabSize - NARROW_VOCABULARY) * spec.hiddenSize;
  return {
    kind: "measured",
    backend: kind === "ort" ? "ort" : "wgsl",
    device,
    elapsedMs: performance.now() - began,
    layer,
    chunk,
    step: { layerSeconds, seconds },
    attention,
    matmulFlops: {
      chunk: (layerFlops * largest.tokens) / largest.seconds,
      token: layerFlops / layerSeconds,
      head: headNumbers > 0 ? (2 * headNumbers) / headTime : layerFlops / layerSeconds,
    },
  };
}

const F32: KvFormats = { keys: "f32", values: "f32" };
/** What is left of a time when others are taken off it is at least this share: differences of close times can come out as nothing. */
const LEAST_SHARE = 0.1;

async function openProbe(
  open: OpenProbe,
  { spec, weightFormat, products, signal }: MeasureRequest,
  probe: ModelSpec,
  formatOf: FormatOf | undefined,
  kv: KvFormats,
  kernel: AttentionKernel = "flash",
): Promise<Runner> {
  throwIfAborted(signal);
  const attends = spec.kind === "decoder" ? { kv, attention: { policy: { kind: kernel } } } : {};
  return open({
    spec: probe,
    weights: probeWeights(probe, formatOf, weightFormat),
    weightFormat: "file",
    ...(products === undefined ? {} : { products }),
    ...attends,
    capacityTokens: PROBE_TOKENS,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Seconds of a decoded token: it is appended and the next one is sampled. */
async function stepSeconds(runner: Runner): Promise<number> {
  runner.truncate(0);
  return repeated(SIZE_SECONDS, async () => {
    await runner.append([1]);
    await runner.sample(GREEDY);
  });
}

/** Of that, seconds of the head and the sample alone. */
function sampleSeconds(runner: Runner): Promise<number> {
  return repeated(SIZE_SECONDS / 2, () => runner.sample(GREEDY));
}

const GREEDY = { temperature: 0, topP: 1, seed: 0 } as const;

/** Median seconds of an action, which is done once before it counts and at least three times then. */
async function repeated(budgetSeconds: number, action: () => Promise<unknown>): Promise<number> {
  await action();
  const times: number[] = [];
  const end = performance.now() + 1000 * budgetSeconds;
  do {
    const began = performance.now();
    await action();
    times.push((performance.now() - began) / 1000);
  } while (times.length < 3 || (performance.now() < end && times.length < 64));
  return median(times);
}

/** Seconds of chunks at the beginning of a context, of all sizes that take bounded time here. */
async function chunkTimes(runner: Runner, stepTook: number, signal: AbortSignal | undefined): Promise<ChunkTimes> {
  const fitting = Math.max(2, Math.floor(CHUNK_SECONDS / stepTook));
  const times: { tokens: number; seconds: number }[] = [];
  for (const tokens of CHUNK_TOKENS[0] <= fitting ? CHUNK_TOKENS : [Math.min(fitting, CHUNK_TOKENS[0])]) {
    const last = times.at(-1);
    if (last !== undefined && (last.seconds * tokens) / last.tokens > CHUNK_SECONDS) break;
    const [found] = await timesOf(runner, [tokens], signal);
    if (found !== undefined) times.push(found);
  }
  return times;
}

/** Median seconds of single chunks of these sizes at the beginning of a context; sizes that the backend cuts up are left out. */
async function timesOf(runner: Runner, sizes: readonly number[], signal: AbortSignal | undefined): Promise<ChunkTimes> {
  const times: { tokens: number; seconds: number }[] = [];
  for (const tokens of sizes) {
    const seconds: number[] = [];
    const end = performance.now() + 1000 * SIZE_SECONDS;
    // The first is a warm-up, and backends come to larger chunks by and by.
    for (let run = 0; seconds.length < 3 ? run < 12 : performance.now() < end && run < 64; run++) {
      throwIfAborted(signal);
      runner.truncate(0);
      const took = await chunkSeconds(runner, tokens);
      if (took !== undefined && run > 0) seconds.push(took);
    }
    if (seconds.length > 0) times.push({ tokens, seconds: median(seconds) });
  }
  return times;
}

/** Seconds of appending tokens; undefined where they went in several chunks of like size. */
async function chunkSeconds(runner: Runner, tokens: number): Promise<number | undefined> {
  let firstEnd: number | undefined;
  let firstTokens = 0;
  const began = performance.now();
  await runner.append(idsOf(tokens), {
    onProgress: (done) => {
      firstEnd ??= performance.now();
      firstTokens ||= done;
    },
  });
  // Recurrent models run the last token of a prompt alone.
  if (firstEnd === undefined || firstTokens < tokens - 1) return undefined;
  return ((firstEnd - began) * (tokens / firstTokens)) / 1000;
}

function idsOf(tokens: number): Int32Array {
  return Int32Array.from({ length: tokens }, (_, index) => index % (NARROW_VOCABULARY - 1));
}

/** How chunks and tokens grow slower with the context in front of them. */
async function attentionRates(
  runner: Runner,
  spec: ModelSpec,
  sizes: readonly number[],
  signal: AbortSignal | undefined,
): Promise<{ prefill: number; decode: number }> {
  const probe = narrowProbe(spec, MANY);
  const channels = channelsOf(spec);
  const tokens = sizes.at(-1) ?? CHUNK_TOKENS[0];
  runner.truncate(0);
  const empty = await repeated(SIZE_SECONDS, async () => {
    runner.truncate(0);
    await runner.append([1]);
    await runner.sample(GREEDY);
  });
  runner.truncate(0);
  const points: { work: number; seconds: number }[] = [];
  const end = performance.now() + 1000 * ASCENT_SECONDS;
  for (let start = 0; start + tokens <= PROBE_TOKENS - 64 && (points.length < 4 || performance.now() < end); start += tokens) {
    throwIfAborted(signal);
    const seconds = await chunkSeconds(runner, tokens);
    if (seconds === undefined) continue;
    points.push({ work: visitedPairs(probe, { kind: "flash" }, start, start + tokens) * channels, seconds });
  }
  const depth = runner.length;
  const deep = await repeated(SIZE_SECONDS, async () => {
    await runner.append([1]);
    await runner.sample(GREEDY);
  });
  const slope = slopeOf(points);
  return {
    prefill: 1 / slope,
    decode: (depth * MANY * channels) / Math.max(deep - empty, deep * LEAST_SHARE),
  };
}

/** The median slope of all pairs of points (Theil and Sen), which a few disturbed times do not move. */
function slopeOf(points: readonly { work: number; seconds: number }[]): number {
  const slopes: number[] = [];
  for (const [index, from] of points.entries()) {
    for (const to of points.slice(index + 1)) slopes.push((to.seconds - from.seconds) / (to.work - from.work));
  }
  const [first] = points;
  const last = points.at(-1);
  const least = first === undefined || last === undefined ? 0 : (LEAST_SHARE * last.seconds) / last.work;
  return Math.max(median(slopes), least);
}

function secondsOf(times: ChunkTimes, tokens: number): number {
  return times.find((time) => time.tokens === tokens)?.seconds ?? 0;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
