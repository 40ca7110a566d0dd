/**
 * What a backend does a second with the shapes of a model, measured through its own Runner in about a second: chunks of a probe with the
 * model's layer, and of probes that have only attention and what a chunk costs whatever its size. No figure of any machine is built in.
 */
import type { MatmulPrecision, ModelSpec, Runner, RunnerOptions, WeightFormat } from "../api.ts";
import type { KvFormats } from "../attention/api.ts";
import { F32_CACHE, WHOLE } from "../attention/wholeOnly.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
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
const CHUNK_SECONDS = 0.25;
/** Time for all chunks of one size, and for the ascent to longer contexts. */
const SIZE_SECONDS = 0.12;
const ASCENT_SECONDS = 0.3;
/** What is too slow for that is left after this time with what there is. */
const LONGEST_SECONDS = 0.6;
const MOST_RUNS = 64;
const CHUNK_TOKENS = [64, 128, 256, 512] as const;
const FEW_TOKENS = 16;
/** Whole pages of every backend. */
const DEEP_TOKENS = 4096;
const PROBE_TOKENS = 8192 + 512;
/** Layers of the narrow probe that is compared with one of a single layer. */
const MANY = 5;

/** Rates of the backend that `open` opens runners on; the copies of a device are measured apart. Throws what opening throws, and `aborted`. */
export async function measureRates(
  open: OpenProbe,
  request: MeasureRequest,
): Promise<Omit<MeasuredRates, "copyBytes" | "uploadBytes" | "readbackBytes">> {
  const { spec, signal } = request;
  const [first = { kernel: "flash" as const, kv: F32_CACHE }] = request.attention;
  // Two, because layer 0 of RWKV-7 is unlike the others, and what is no layer's weighs less beside two.
  const layers = Math.min(2, spec.layerCount);
  let elapsedMs = 0;
  /** Opens a probe, which may compile kernels, and measures on it. */
  const on = async <T>(probe: Probe, way: typeof first, use: (runner: Runner) => Promise<T>): Promise<T> => {
    const runner = await openProbe(open, request, probe, way);
    const began = performance.now();
    try {
      return await use(runner);
    } finally {
      elapsedMs += performance.now() - began;
      runner.dispose();
    }
  };

  const whole = await on({ spec: layerProbe(spec, layers), formatOf: request.formatOf }, first, async (runner) => ({
    ...{ device: runner.device, kind: runner.kind },
    // Chunks first: what is compiled while it runs is then as fast as it gets.
    chunks: await chunkTimes(runner, signal),
    ...(await tokenTimes(runner)),
  }));
  const sizes = whole.chunks.map(({ tokens }) => tokens);
  const narrow = async (runner: Runner) => ({ chunks: await timesOf(runner, sizes, signal), ...(await tokenTimes(runner)) });
  const one = await on({ spec: narrowProbe(spec, 1) }, first, narrow);
  const many = await on({ spec: narrowProbe(spec, MANY) }, first, narrow);
  const attention: MeasuredRates["attention"][number][] = [];
  for (const way of spec.kind === "decoder" ? request.attention : []) {
    const probe = { spec: narrowProbe(spec, MANY) };
    attention.push({ ...way, ...(await on(probe, way, (runner) => attentionRates(runner, spec, sizes, signal))) });
  }

  const base = (ofOne: number, ofMany: number): number => Math.max(0, (MANY * ofOne - ofMany) / (MANY - 1));
  const chunk = sizes.map((tokens) => ({ tokens, seconds: base(secondsOf(one.chunks, tokens), secondsOf(many.chunks, tokens)) }));
  const attended = (tokens: number): number => {
    const pairs = visitedPairs(layerProbe(spec, layers), WHOLE.policy, 0, tokens) * channelsOf(spec);
    return pairs === 0 ? 0 : pairs / (attention[0]?.prefill ?? Infinity);
  };
  const layer = whole.chunks.map(({ tokens, seconds }) => {
    const rest = seconds - secondsOf(chunk, tokens) - attended(tokens);
    return { tokens, seconds: Math.max(rest, seconds * LEAST_SHARE) / layers };
  });
  const seconds = base(one.step, many.step);
  const headSeconds = Math.max(whole.sample - one.sample, whole.sample * LEAST_SHARE);
  const layerSeconds = Math.max(whole.step - seconds - headSeconds, whole.step * LEAST_SHARE) / layers;
  const largest = layer.at(-1) ?? { tokens: 1, seconds: layerSeconds };
  const layerFlops = (2 * layerMatrixNumbers(spec)) / spec.layerCount;
  const headNumbers = (layerProbe(spec, 1).vocabSize - NARROW_VOCABULARY) * spec.hiddenSize;
  return {
    kind: "measured",
    backend: whole.kind === "ort" ? "ort" : "wgsl",
    device: whole.device,
    elapsedMs,
    layer,
    chunk,
    step: { layerSeconds, seconds },
    attention,
    matmulFlops: {
      chunk: (layerFlops * largest.tokens) / largest.seconds,
      token: layerFlops / layerSeconds,
      head: headNumbers > 0 ? (2 * headNumbers) / headSeconds : layerFlops / layerSeconds,
    },
  };
}

/** What is left of a time when others are taken off it is at least this share: differences of close times can come out as nothing. */
const LEAST_SHARE = 0.1;

/** A probe and the formats of its weights, f32 by default. */
interface Probe {
  spec: ModelSpec;
  formatOf?: FormatOf;
}

async function openProbe(
  open: OpenProbe,
  { weightFormat, products, signal }: MeasureRequest,
  { spec, formatOf }: Probe,
  { kernel, kv }: MeasureRequest["attention"][number],
): Promise<Runner> {
  throwIfAborted(signal);
  const attends = spec.kind === "decoder" ? { kv, attention: { policy: { kind: kernel } } } : {};
  return open({
    spec,
    weights: probeWeights(spec, formatOf, weightFormat),
    weightFormat: "file",
    ...(products === undefined ? {} : { products }),
    ...attends,
    capacityTokens: PROBE_TOKENS,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Seconds of a decoded token, which is appended before the next one is sampled, and of that, of the head and the sample alone. */
async function tokenTimes(runner: Runner): Promise<{ step: number; sample: number }> {
  runner.truncate(0);
  const step = await repeated(SIZE_SECONDS, () => oneStep(runner));
  return { step, sample: await repeated(SIZE_SECONDS / 2, () => runner.sample(GREEDY)) };
}

async function oneStep(runner: Runner): Promise<void> {
  await runner.append([1]);
  await runner.sample(GREEDY);
}

const GREEDY = { temperature: 0, topP: 1, seed: 0 } as const;

/** Seconds of an action in good moments, which is done once before it counts and at least five times then. */
async function repeated(budgetSeconds: number, action: () => Promise<unknown>): Promise<number> {
  await action();
  const times: number[] = [];
  const end = performance.now() + 1000 * budgetSeconds;
  do {
    const began = performance.now();
    await action();
    times.push((performance.now() - began) / 1000);
  } while (times.length < 5 || (performance.now() < end && times.length < MOST_RUNS));
  return quartile(times);
}

/** Seconds of chunks at the beginning of a context, of all sizes that take bounded time here; a few tokens tell which. */
async function chunkTimes(runner: Runner, signal: AbortSignal | undefined): Promise<ChunkTimes> {
  let times = await timesOf(runner, [FEW_TOKENS], signal);
  for (const tokens of CHUNK_TOKENS) {
    const last = times.at(-1);
    // A chunk of a few tokens fills no tile, so that four times as many may take no longer.
    const expected = last === undefined || last.tokens === FEW_TOKENS ? last?.seconds : (last.seconds * tokens) / last.tokens;
    if (expected !== undefined && expected > CHUNK_SECONDS) break;
    const found = await timesOf(runner, [tokens], signal);
    // Few tokens are only there for devices on which many take too long.
    times = last?.tokens === FEW_TOKENS ? found : [...times, ...found];
  }
  return times;
}

/** Seconds of single chunks in good moments of these sizes at the beginning of a context; sizes that the backend cuts up are left out. */
async function timesOf(runner: Runner, sizes: readonly number[], signal: AbortSignal | undefined): Promise<ChunkTimes> {
  const times: { tokens: number; seconds: number }[] = [];
  for (const tokens of sizes) {
    const seconds: number[] = [];
    const began = performance.now();
    const spent = (): number => (performance.now() - began) / 1000;
    // The first is a warm-up, and backends come to larger chunks by and by.
    for (let run = 0; run < 2 || spent() < (seconds.length < 5 ? LONGEST_SECONDS : SIZE_SECONDS); run++) {
      throwIfAborted(signal);
      runner.truncate(0);
      const { first, tokens: firstTokens } = await appendTimes(runner, tokens);
      // Recurrent models run the last token of a prompt alone.
      if (firstTokens >= tokens - 1 && run > 0) seconds.push(first * (tokens / firstTokens));
      if (run >= MOST_RUNS) break;
    }
    if (seconds.length > 0) times.push({ tokens, seconds: quartile(seconds) });
  }
  return times;
}

/** Seconds of appending tokens, and of the first chunk they went in, with its tokens. */
async function appendTimes(runner: Runner, tokens: number): Promise<{ all: number; first: number; tokens: number }> {
  let first: number | undefined;
  let firstTokens = tokens;
  const began = performance.now();
  await runner.append(idsOf(tokens), {
    onProgress: (done) => {
      if (first !== undefined) return;
      first = performance.now() - began;
      firstTokens = done;
    },
  });
  const all = performance.now() - began;
  return { all: all / 1000, first: (first ?? all) / 1000, tokens: firstTokens };
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
  const empty = await repeated(SIZE_SECONDS, async () => {
    runner.truncate(0);
    await oneStep(runner);
  });
  runner.truncate(0);
  // The first chunk of a size may compile or allocate.
  await runner.append(idsOf(tokens));
  runner.truncate(0);
  const points: { work: number; seconds: number }[] = [];
  const began = performance.now();
  const spent = (): number => (performance.now() - began) / 1000;
  for (let start = 0; start + tokens <= PROBE_TOKENS - MOST_RUNS; start += tokens) {
    const enough = points.length < 4 ? LONGEST_SECONDS : ASCENT_SECONDS;
    if (points.length >= 2 && spent() >= enough) break;
    throwIfAborted(signal);
    const all = await boundedAppend(runner, tokens);
    if (all === undefined) break;
    points.push({ work: visitedPairs(probe, WHOLE.policy, start, start + tokens) * channels, seconds: all });
  }
  await deepen(runner);
  const depth = runner.length;
  const deep = await repeated(SIZE_SECONDS, () => oneStep(runner));
  return {
    prefill: 1 / slopeOf(points),
    decode: (depth * MANY * channels) / Math.max(deep - empty, deep * LEAST_SHARE),
  };
}

/** Copies of the first page behind what is cached, up to a depth at which keys are what a token takes; where pages cannot be put back, nothing. */
async function deepen(runner: Runner): Promise<void> {
  const { pages } = runner;
  if (pages?.kind !== "keys" || runner.length < pages.tokensPerPage) return;
  const [page] = await pages.export(0, 1);
  const length = runner.truncate(runner.length - (runner.length % pages.tokensPerPage));
  const copies = (DEEP_TOKENS - length) / pages.tokensPerPage;
  if (page !== undefined && copies > 0)
    await pages.import(new Array<typeof page>(copies).fill(page), length / pages.tokensPerPage);
}

/** Seconds of appending tokens; undefined where a way to attend does not reach so far. */
async function boundedAppend(runner: Runner, tokens: number): Promise<number | undefined> {
  try {
    return (await appendTimes(runner, tokens)).all;
  } catch (error) {
    if (EngineError.is(error, "limit-exceeded")) return undefined;
    throw error;
  }
}

/** The median slope of all pairs of points (Theil and Sen), which a few disturbed times do not move. */
function slopeOf(points: readonly { work: number; seconds: number }[]): number {
  const slopes: number[] = [];
  for (const [index, from] of points.entries()) {
    for (const to of points.slice(index + 1))
      if (to.work > from.work) slopes.push((to.seconds - from.seconds) / (to.work - from.work));
  }
  const last = points.at(-1);
  if (last === undefined)
    throw new EngineError("limit-exceeded", "no chunk of the probe could be attended to", "plan without measuring");
  const whole = last.seconds / last.work;
  return slopes.length === 0 ? whole : Math.max(median(slopes), LEAST_SHARE * whole);
}

function secondsOf(times: ChunkTimes, tokens: number): number {
  return times.find((time) => time.tokens === tokens)?.seconds ?? 0;
}

/** The lower one: what disturbs a run of a few milliseconds only makes it longer. */
function quartile(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 2] ?? 0;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
