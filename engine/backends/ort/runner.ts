import {
  CUT_TOKENS,
  type AppendOptions,
  type Band,
  type DecoderSpec,
  type PooledAttention,
  type PoolRequest,
  type PositionPlan,
  type RopeTable,
  type Runner,
  type RunnerOptions,
  type Sampling,
  type TokenMask,
} from "../../api.ts";
import { type AttentionChoice, PAGE_TOKENS } from "../../attention/api.ts";
import type { AttentionFacts } from "../../attention/api.ts";
import { checkF32Cache, checkWhole, F32_CACHE } from "../../attention/wholeOnly.ts";
import { EngineError, throwIfAborted } from "../../errors.ts";
import type { CachedPages } from "../../kv-cache/api.ts";
import { DEFAULT_CACHE_BYTES } from "../../models/memory.ts";
import { layerBands, positionPlan } from "../../position/bands.ts";
import { positionsFrom } from "../../position/rope.ts";
import { localTable } from "../../position/scaling.ts";
import { checkIds, checkPlan, checkRoom } from "../../reference/checks.ts";
import { checkPoolRequest } from "../../reference/pool.ts";
import { sampleLogits, uniformAt } from "../../reference/sample.ts";
import { Breather } from "./breather.ts";
import { embed, type Decoder } from "./decoder.ts";
import { headFacts } from "./headFacts.ts";
import { HeadRows } from "./headRows.ts";
import { repositionRows, turnedHeads } from "./headTurns.ts";
import { MASKED } from "./layerGraphs.ts";
import { outputOf, type Floats } from "./ortGraph.ts";
import { ortPages } from "./pages.ts";
import { poolAttention } from "./poolAttention.ts";
import { QueryTap } from "./queryTap.ts";

/** Cached keys of one `attend` call: the scores of a chunk stay in the processor's cache, the calls stay few. */
const BLOCK_TOKENS = 1024;
const DEFAULT_TAP_BYTES = 256 * 2 ** 20;
const LARGEST_CHUNK = 128;
const FIRST_CHUNK = 32;
const CHUNK_MS = 100;

/** What one layer remembers. */
export interface LayerCache {
  /** [G, D] per token, rotated; one per copy of the plan. */
  keys: HeadRows[];
  values: HeadRows;
  /** Key shift only: raw keys [G, D] of the last token and of the last token of each page, from which appending can go on. */
  lastRawKey: Float32Array<ArrayBuffer>;
  pageRawKeys: Float32Array<ArrayBuffer>[];
}

/** A decoder on ONNX Runtime graphs. The KV cache lies in JavaScript and its blocks go into the graphs as inputs. */
export class OrtRunner implements Runner {
  readonly kind = "ort";
  readonly kv = F32_CACHE;
  readonly device: string;
  readonly capacityTokens: number;
  readonly lost = new Promise<void>(() => undefined);
  readonly pages: CachedPages;
  private readonly spec: DecoderSpec;
  private readonly decoder: Decoder;
  private readonly queryTap: QueryTap;
  private readonly breather = new Breather();
  /**
   * Small chunks pay more often for what a chunk costs whatever its size: unpacking quantised matrices, bringing cached keys in. Between
   * layers the event loop turns anyway, so a slow machine stays responsive.
   */
  private readonly smallestChunk: number;
  private readonly local: RopeTable | undefined;
  private plan: PositionPlan;
  private layers: LayerCache[];
  private cachedTokens = 0;
  private nextChunk = FIRST_CHUNK;
  /** [1, E] behind the last layer, of the last appended token; undefined when nothing, or something else, is last now. */
  private lastHidden: Float32Array<ArrayBuffer> | undefined;

  constructor(spec: DecoderSpec, options: RunnerOptions, decoder: Decoder, device: string) {
    checkF32Cache(options.kv, "WASM");
    this.spec = spec;
    this.decoder = decoder;
    this.device = device;
    this.smallestChunk = decoder.embedding.kind === "f32" ? FIRST_CHUNK : 64;
    const tokenBytes = 2 * this.spec.layerCount * this.spec.kvHeadCount * this.spec.headDim * Float32Array.BYTES_PER_ELEMENT;
    this.capacityTokens = capacityOf(options, Math.floor(DEFAULT_CACHE_BYTES / tokenBytes));
    this.queryTap = new QueryTap(this.spec, options.tapBytes ?? DEFAULT_TAP_BYTES);
    this.local = localTable(spec);
    this.plan = positionPlan(spec.rope, spec, spec.maxPositionEmbeddings);
    this.layers = this.emptyLayers(this.plan);
    this.pages = ortPages(
      () => ({ spec, layers: this.layers, lengthTokens: this.cachedTokens, capacityTokens: this.capacityTokens }),
      () => {
        this.cachedTokens += PAGE_TOKENS;
        this.lastHidden = undefined;
        this.queryTap.skipTo(this.cachedTokens);
      },
    );
  }

  get length(): number {
    return this.cachedTokens;
  }

  get quantizationError(): number | undefined {
    return this.decoder.quantizationError;
  }

  get tap(): Runner["tap"] {
    return this.queryTap.kept;
  }

  setPositions(plan: PositionPlan): void {
    checkPlan(plan, this.spec);
    if (plan.key !== this.plan.key) {
      this.truncate(0);
      this.layers = this.emptyLayers(plan);
    }
    this.plan = plan;
  }

  setAttention(choice: AttentionChoice): void {
    checkWhole(choice, "WASM");
  }

  async repositionCache(plan: PositionPlan): Promise<boolean> {
    checkPlan(plan, this.spec);
    if (this.spec.rotaryDim === 0) return false;
    const before = this.plan;
    for (const [index, layer] of this.layers.entries()) {
      if (this.spec.layers[index]?.rotation !== "main") continue;
      const moved = plan.copies.map((_, copy) => (layer.keys[copy] ?? layer.keys[0])?.copy() ?? this.emptyRows());
      for (const [copy, keys] of moved.entries()) {
        const from = layer.keys[copy] === undefined ? 0 : copy;
        repositionRows(keys, this.cachedTokens, { plan: before, copy: from }, { plan, copy });
        await this.breather.breathe(undefined);
      }
      layer.keys = moved;
    }
    this.plan = plan;
    this.lastHidden = undefined;
    this.queryTap.drop("the keys were moved to other positions, and the prompt's queries were not");
    return true;
  }

  truncate(lengthTokens: number): number {
    if (lengthTokens >= this.cachedTokens) return this.cachedTokens;
    const length = Math.max(0, Math.floor(lengthTokens / CUT_TOKENS) * CUT_TOKENS);
    this.cachedTokens = length;
    this.lastHidden = undefined;
    for (const layer of this.layers) {
      for (const keys of layer.keys) keys.truncate(length);
      layer.values.truncate(length);
      layer.pageRawKeys.length = Math.min(layer.pageRawKeys.length, length / CUT_TOKENS);
      layer.lastRawKey = layer.pageRawKeys[length / CUT_TOKENS - 1] ?? this.zeroKey();
    }
    this.queryTap.truncate(length);
    return length;
  }

  async append(ids: readonly number[] | Int32Array, options: AppendOptions = {}): Promise<Float32Array<ArrayBuffer> | undefined> {
    checkIds(ids, this.spec.vocabSize);
    checkRoom(ids.length, this.cachedTokens, this.capacityTokens);
    const vocabSize = this.spec.vocabSize;
    const all = options.logits === "all" ? new Float32Array(ids.length * vocabSize) : undefined;
    for (let done = 0; done < ids.length;) {
      throwIfAborted(options.signal);
      const chunk = ids.slice(done, done + this.nextChunk);
      const started = performance.now();
      const hidden = await this.runChunk(chunk, options.signal);
      this.adaptChunk(chunk.length, performance.now() - started);
      this.lastHidden = hidden.slice(hidden.length - this.spec.hiddenSize);
      all?.set(await this.logitsOf(hidden), done * vocabSize);
      done += chunk.length;
      options.onProgress?.(done);
      await this.breather.breathe(options.signal);
    }
    if (options.logits !== "last" || this.lastHidden === undefined) return all;
    return this.logitsOf(this.lastHidden);
  }

  async sample(sampling: Sampling, allowed?: TokenMask): Promise<number> {
    if (this.lastHidden === undefined) {
      throw new EngineError("bad-argument", "there is no last token to sample behind", "append at least one token first");
    }
    const logits = await this.logitsOf(this.lastHidden);
    return sampleLogits(logits, sampling, allowed, uniformAt(sampling.seed, this.cachedTokens));
  }

  async pool(request: PoolRequest, signal?: AbortSignal): Promise<PooledAttention> {
    const { layers } = checkPoolRequest(request, { spec: this.spec, length: this.cachedTokens, tap: this.tap });
    const tapped = layers.map((layer) => ({
      saved: this.queryTap.saved(layer),
      keys: this.layerCache(layer).keys,
      ...this.turnOf(layer),
    }));
    return poolAttention(this.spec, this.decoder.probability, tapped, request, () => this.breather.breathe(signal));
  }

  async headFacts(queries: number, signal?: AbortSignal): Promise<AttentionFacts> {
    const { layers, from = 0 } = this.tap;
    const tapped = new Map(
      layers.map((layer) => [
        layer,
        { saved: this.queryTap.saved(layer), keys: this.layerCache(layer).keys, ...this.turnOf(layer) },
      ]),
    );
    return headFacts(this.spec, tapped, { from, length: this.cachedTokens, most: queries }, () => this.breather.breathe(signal));
  }

  loseDevice(): boolean {
    return false;
  }

  dispose(): void {
    const graphs = [
      this.decoder.attend,
      this.decoder.attendMasked,
      this.decoder.probability,
      ...this.decoder.heads.map((head) => head.graph),
    ];
    for (const layer of this.decoder.layers) graphs.push(layer.project, layer.finish);
    this.layers = [];
    this.cachedTokens = 0;
    this.lastHidden = undefined;
    // Nobody waits for memory to be given back, and a graph that cannot be released is gone with the worker.
    for (const graph of graphs) graph.release().catch(() => undefined);
  }

  /**
   * Runs one chunk through all layers and counts it as cached at the end; what an abort in the middle leaves behind `length` is
   * overwritten later. Returns x [C, E] behind the last layer.
   */
  private async runChunk(
    ids: readonly number[] | Int32Array,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array<ArrayBuffer>> {
    const { hiddenSize } = this.spec;
    const count = ids.length;
    const start = this.cachedTokens;
    this.queryTap.reserve(start + count);
    let x: Floats = { data: embed(this.spec, this.decoder, ids), dims: [count, hiddenSize] };
    const rawKeys: Float32Array<ArrayBuffer>[] = [];
    for (const [index, graphs] of this.decoder.layers.entries()) {
      await this.breather.breathe(signal);
      const cache = this.layerCache(index);
      const projected = await graphs.project.run({ x, ...this.previousKey(cache) });
      this.cacheRows(index, cache, projected, start, count);
      const o = await this.attendCached(index, cache, outputOf(projected, "q"), { start, count }, signal);
      if (this.spec.keyShift) rawKeys.push(outputOf(projected, "rawKey"));
      const residual = this.spec.residualAfterNorm ? { data: outputOf(projected, "normed"), dims: x.dims } : x;
      x = { data: outputOf(await graphs.finish.run({ x: residual, o }), "y"), dims: x.dims };
    }
    for (const [index, rows] of rawKeys.entries()) this.keepRawKeys(this.layerCache(index), rows, start, count);
    this.cachedTokens = start + count;
    return x.data;
  }

  /** How the queries and keys of a layer stand to each other. */
  private turnOf(layer: number): {
    bands: readonly Band[];
    table: RopeTable | undefined;
    queryScale: (position: number) => number;
  } {
    const kind = this.spec.layers[layer] ?? { window: undefined, rotation: "none" };
    const { plan } = this;
    const table = kind.rotation === "main" ? plan.table : kind.rotation === "local" ? this.local : undefined;
    const isRotated = table !== undefined && table.invFreq.length > 0;
    return {
      bands: layerBands(plan, kind),
      table: isRotated ? table : undefined,
      queryScale: kind.rotation === "main" ? (position) => plan.queryScale(position) : () => 1,
    };
  }

  /** Puts the chunk's keys, in the positions of every copy, and its values into the cache. */
  private cacheRows(
    layer: number,
    cache: LayerCache,
    projected: Record<string, Float32Array<ArrayBuffer>>,
    start: number,
    count: number,
  ): void {
    const { kvHeadCount, headDim } = this.spec;
    const { table } = this.turnOf(layer);
    const keys = outputOf(projected, "k");
    for (const [copy, rows] of cache.keys.entries()) {
      const at = this.spec.layers[layer]?.rotation === "main" ? this.plan.copies[copy] : undefined;
      const turn = table === undefined ? undefined : { table, positions: positionsFrom(start, count, at) };
      rows.write(start, turnedHeads(keys, kvHeadCount, headDim, turn), count);
    }
    cache.values.write(start, turnedHeads(outputOf(projected, "v"), kvHeadCount, headDim, undefined), count);
  }

  /** Attention of the chunk's bare queries [C, H, D] on everything they see, block by block and band by band. */
  private async attendCached(
    layer: number,
    cache: LayerCache,
    queries: Float32Array<ArrayBuffer>,
    { start, count }: { start: number; count: number },
    signal: AbortSignal | undefined,
  ): Promise<Floats> {
    const { headCount, kvHeadCount, headDim, attentionScale, alibi } = this.spec;
    const { bands, table, queryScale } = this.turnOf(layer);
    let o: Floats = { data: new Float32Array(queries.length), dims: [headCount, count, headDim] };
    let lse: Floats = { data: new Float32Array(headCount * count).fill(MASKED), dims: [headCount, count, 1] };
    for (const band of bands) {
      const turn = table === undefined ? undefined : { table, positions: positionsFrom(start, count, band.queryPosition) };
      const scale = (token: number): number => attentionScale * queryScale(start + token);
      const q = { data: turnedHeads(queries, headCount, headDim, turn, scale), dims: o.dims };
      const keys = cache.keys[band.copy];
      if (keys === undefined) throw new RangeError(`layer ${layer} has no copy ${band.copy} of its keys`);
      const first = Math.floor(band.keys(start)[0] / BLOCK_TOKENS);
      const end = band.keys(start + count - 1)[1];
      for (let block = first; block * BLOCK_TOKENS < end; block++) {
        const from = block * BLOCK_TOKENS;
        const keyCount = Math.min(BLOCK_TOKENS, end - from);
        const dims = [kvHeadCount, keyCount, headDim];
        const k = { data: keys.read(block, keyCount), dims };
        const v = { data: cache.values.read(block, keyCount), dims };
        const inputs: Record<string, Floats> = { q, k, v, o, lse };
        if (alibi !== undefined) inputs["distance"] = blockDistance(start, count, from, keyCount);
        const mask = blockMask(band, start, count, from, keyCount);
        if (mask !== undefined) inputs["mask"] = mask;
        await this.breather.breathe(signal);
        const next = await (mask === undefined ? this.decoder.attend : this.decoder.attendMasked).run(inputs);
        o = { data: outputOf(next, "oNext"), dims: o.dims };
        lse = { data: outputOf(next, "lseNext"), dims: lse.dims };
      }
    }
    this.queryTap.write(layer, start, count, turnedHeads(queries, headCount, headDim, undefined), lse.data);
    return o;
  }

  private previousKey(cache: LayerCache): Record<string, Floats> {
    if (!this.spec.keyShift) return {};
    return { previousKey: { data: cache.lastRawKey, dims: [1, this.spec.kvHeadCount, this.spec.headDim] } };
  }

  /** `rows` [C, G, D] are the raw keys of [start, start + count). */
  private keepRawKeys(cache: LayerCache, rows: Float32Array<ArrayBuffer>, start: number, count: number): void {
    const width = this.spec.kvHeadCount * this.spec.headDim;
    const firstEnd = Math.ceil((start + 1) / CUT_TOKENS) * CUT_TOKENS - 1;
    for (let position = firstEnd; position < start + count; position += CUT_TOKENS) {
      const row = (position - start) * width;
      cache.pageRawKeys[Math.floor(position / CUT_TOKENS)] = rows.slice(row, row + width);
    }
    cache.lastRawKey = rows.slice((count - 1) * width, count * width);
  }

  /** Logits [n, V] of x [n, E]. */
  private async logitsOf(hidden: Float32Array<ArrayBuffer>): Promise<Float32Array<ArrayBuffer>> {
    const { hiddenSize, vocabSize } = this.spec;
    const count = hidden.length / hiddenSize;
    const x = { data: hidden, dims: [count, hiddenSize] };
    const logits = new Float32Array(count * vocabSize);
    let firstRow = 0;
    for (const { graph, rows } of this.decoder.heads) {
      const slice = outputOf(await graph.run({ x }), "logits");
      for (let token = 0; token < count; token++) {
        logits.set(slice.subarray(token * rows, (token + 1) * rows), token * vocabSize + firstRow);
      }
      firstRow += rows;
    }
    return logits;
  }

  /** Doubles or halves the chunk so that the next one takes about CHUNK_MS. */
  private adaptChunk(tokens: number, elapsedMs: number): void {
    if (tokens < this.nextChunk) return;
    if (elapsedMs < CHUNK_MS / 2) this.nextChunk = Math.min(LARGEST_CHUNK, this.nextChunk * 2);
    else if (elapsedMs > CHUNK_MS) this.nextChunk = Math.max(this.smallestChunk, this.nextChunk / 2);
  }

  private layerCache(layer: number): LayerCache {
    const cache = this.layers[layer];
    if (cache) return cache;
    throw new EngineError(
      "bad-argument",
      `the model has no layer ${layer}`,
      `choose a layer from 0 to ${this.spec.layerCount - 1}`,
      { layer },
    );
  }

  private emptyLayers(plan: PositionPlan): LayerCache[] {
    return this.spec.layers.map(({ rotation }) => ({
      keys: Array.from({ length: rotation === "main" ? plan.copies.length : 1 }, () => this.emptyRows()),
      values: this.emptyRows(),
      lastRawKey: this.zeroKey(),
      pageRawKeys: [],
    }));
  }

  private emptyRows(): HeadRows {
    return new HeadRows(this.spec.kvHeadCount, this.spec.headDim, BLOCK_TOKENS);
  }

  private zeroKey(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.spec.kvHeadCount * this.spec.headDim);
  }
}

function capacityOf(options: RunnerOptions, deviceTokens: number): number {
  const wanted = options.capacityTokens ?? deviceTokens;
  if (Number.isSafeInteger(wanted) && wanted >= 1) return Math.min(wanted, deviceTokens);
  throw new EngineError("bad-argument", `a KV cache of ${wanted} tokens holds nothing`, "give at least one token");
}

/** [count, keyCount] of 0 and MASKED for queries from `start` on and keys from `from` on; undefined where every query sees every key. */
function blockMask(band: Band, start: number, count: number, from: number, keyCount: number): Floats | undefined {
  const ranges = Array.from({ length: count }, (_, token) => band.keys(start + token));
  if (ranges.every(([first, end]) => first <= from && end >= from + keyCount)) return undefined;
  const data = new Float32Array(count * keyCount);
  for (const [token, [first, end]] of ranges.entries()) {
    const row = token * keyCount;
    data.fill(MASKED, row, row + Math.min(Math.max(first - from, 0), keyCount));
    data.fill(MASKED, row + Math.min(Math.max(end - from, 0), keyCount), row + keyCount);
  }
  return { data, dims: [count, keyCount] };
}

/** [count, keyCount]: how far each key lies before its query. */
function blockDistance(start: number, count: number, from: number, keyCount: number): Floats {
  const data = new Float32Array(count * keyCount);
  for (let token = 0; token < count; token++) {
    for (let key = 0; key < keyCount; key++) data[token * keyCount + key] = start + token - from - key;
  }
  return { data, dims: [count, keyCount] };
}
