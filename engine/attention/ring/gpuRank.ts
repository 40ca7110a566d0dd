/** A rank on a device of its own: the kernels of the WebGPU backend over one shard of a prompt, layer by layer. */
import type { DecoderSpec, ModelFiles, WeightStore } from "../../api.ts";
import { loadDecoder, matrixUses } from "../../backends/wgsl/loadDecoder.ts";
import { EngineError } from "../../errors.ts";
import { storageBuffer, uploadedBuffer } from "../../gpu/buffers.ts";
import { openDevice, type EngineDevice } from "../../gpu/device.ts";
import { openRecorder } from "../../gpu/dispatch.ts";
import { chooseVariants } from "../../gpu/selfTest.ts";
import { openShaderCache, type ShaderCache } from "../../gpu/shader.ts";
import type { Span } from "../../kernels/attentionOps.ts";
import { openLinear } from "../../kernels/linear.ts";
import { checkShapes, openOperations } from "../../kernels/ops.ts";
import type { CacheLayer } from "../../kv-cache/pages.ts";
import { keepsAll } from "../../kv-cache/retention.ts";
import { MAX_CHUNK_TOKENS } from "../../models/chunkSizes.ts";
import { addAttended, embedTokens, layerWeights, openActivations, projectRows, type LayerParts } from "../../models/decoder.ts";
import { loadModel } from "../../models/load.ts";
import { slopesOf } from "../../position/alibi.ts";
import { bandRows, cacheChunk, slabCopy } from "../attend.ts";
import type { LayerPositions } from "../chunkPositions.ts";
import type { RankCompute, RankOptions, RankShard } from "./compute.ts";
import { openShardBuffers, type PieceBuffers, type ShardBuffers } from "./shardBuffers.ts";
import { openRangeReader, rowsOfWire, usedRanges, writeSlab, type RangesOf } from "./slabs.ts";

/** Reads a model's files onto a device of its own. Throws what `loadModel` and `openRankOn` throw. */
export async function openGpuRank(
  entry: GPU,
  files: ModelFiles,
  options: RankOptions,
  signal: AbortSignal,
  onProgress: (doneBytes: number, totalBytes: number) => void,
): Promise<RankCompute> {
  const { spec, weights } = await loadModel(files, signal);
  if (spec.kind !== "decoder") {
    throw new EngineError("bad-argument", "a recurrent model has no keys to pass around", "choose attention flash");
  }
  const gpu = await openDevice(entry, { minimumLimits: options.minimumLimits });
  try {
    return await openRankOn(gpu, spec, weights, options, { signal, onProgress });
  } catch (error) {
    gpu.destroy();
    throw error;
  }
}

/** The same on an open device, with kernels that may be compiled already; `dispose` takes it along. Throws `unsupported-model`, `limit-exceeded`, or what reading weights throws. */
export async function openRankOn(
  gpu: EngineDevice,
  spec: DecoderSpec,
  store: WeightStore,
  options: RankOptions,
  loading: { signal?: AbortSignal; onProgress?(doneBytes: number, totalBytes: number): void; shaders?: ShaderCache } = {},
): Promise<RankCompute> {
  checkShapes(spec);
  const { weightFormat, products, kv } = options;
  const { shaders = openShaderCache(gpu) } = loading;
  const recorder = openRecorder(gpu);
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const { weights } = await loadDecoder(spec, store, gpu, { ...loading, weightFormat, maxBindingBytes: gpu.maxBufferBytes });
  const { variants } = await chooseVariants(gpu, shaders, products);
  const acts = openActivations(spec, gpu, MAX_CHUNK_TOKENS);
  const linear = await openLinear(matrixUses(spec, weights, variants), {
    ...{ gpu, shaders, recorder, placeholder, variants },
    maxTokens: acts.maxTokens,
  });
  const slopes = uploadedBuffer(gpu, "slopes", slopesOf(spec));
  const op = await openOperations(spec, linear, shaders, recorder, { placeholder, slopes, formats: kv });
  const reader = openRangeReader(gpu);
  const before = storageBuffer(gpu, "raw keys in front", acts.maxTokens * spec.kvHeadCount * spec.headDim * 4);
  return new GpuRank(spec, options, { gpu, recorder, op, weights, acts, reader, before });
}

type Opened = Pick<LayerParts, "op" | "weights" | "acts"> & {
  gpu: EngineDevice;
  recorder: ReturnType<typeof openRecorder>;
  reader: ReturnType<typeof openRangeReader>;
  /** Raw keys in front of a piece's [tokens, G, D]. */
  before: GPUBuffer;
};

class GpuRank implements RankCompute {
  readonly device: string;
  private shard: RankShard | undefined;
  private buffers: ShardBuffers | undefined;
  /** Which of a piece's two buffers has its log-sum-exps. */
  private turns: (0 | 1)[] = [];

  constructor(
    readonly spec: DecoderSpec,
    private readonly options: RankOptions,
    private readonly opened: Opened,
  ) {
    this.device = opened.gpu.description;
  }

  async begin(shard: RankShard): Promise<void> {
    const { gpu, acts, recorder } = this.opened;
    this.end();
    gpu.check();
    this.buffers = await openShardBuffers(this.spec, gpu, this.options.kv, shard, acts.maxTokens);
    this.shard = shard;
    for (const piece of this.begun().pieces) embedTokens(this.parts(piece), piece.tokens);
    await recorder.finish();
  }

  async project(layer: number): Promise<Float32Array<ArrayBuffer> | undefined> {
    const { recorder, reader } = this.opened;
    const { pieces } = this.begun();
    for (const piece of pieces) {
      projectRows(this.parts(piece), layer, piece.tokens);
      recorder.submit();
    }
    if (!this.spec.keyShift) return undefined;
    const { headCount: H, kvHeadCount: G, headDim: D } = this.spec;
    const bytes = 4 * G * D;
    const raw = await reader.read(
      pieces.map(({ qkv, tokens }) => ({
        source: qkv,
        ranges: Array.from({ length: tokens }, (_, token) => ({ at: 4 * D * (token * (H + 2 * G) + H), bytes })),
      })),
    );
    return joined(raw);
  }

  async ownBlock(layer: number, before: Float32Array<ArrayBuffer> | undefined) {
    const { gpu, op, recorder, reader } = this.opened;
    const { pieces, own, shapes } = this.begun();
    const { keyShift, headNorms } = layerWeights(this.opened, layer);
    const width = this.spec.kvHeadCount * this.spec.headDim;
    for (const [index, piece] of pieces.entries()) {
      const { qkv, start, tokens } = piece;
      if (keyShift !== undefined && before !== undefined) {
        gpu.device.queue.writeBuffer(this.opened.before, 0, before, start * width, tokens * width);
        op.keyMix(qkv, keyShift, this.opened.before, tokens); // keys [T, G, D]
      }
      if (headNorms !== undefined) op.qkNorm(qkv, headNorms.query, headNorms.key, tokens); // [T, H + G, D]
      cacheChunk(op, piece, this.ownCache(), this.positions(layer, index), spanOf(piece)); // pages of [G, PAGE_TOKENS, D]
      // The next piece's raw keys take the place of this one's.
      recorder.submit();
    }
    const tokens = this.tokensOf(this.rank());
    const copies = own.keys.slice(0, this.copies(layer));
    const [values, ...keys] = await reader.read([
      { source: own.values, ranges: usedRanges(tokens, shapes.values) },
      ...copies.map((source): RangesOf => ({ source, ranges: usedRanges(tokens, shapes.keys) })),
    ]);
    return { keys, values };
  }

  hold(owner: number, block: { keys: readonly ArrayBuffer[]; values: ArrayBuffer }): void {
    const { gpu } = this.opened;
    const { held, shapes } = this.begun();
    const tokens = this.tokensOf(owner);
    for (const [copy, keys] of block.keys.entries()) writeSlab(gpu, held.keys[copy], keys, tokens, shapes.keys);
    writeSlab(gpu, held.values, block.values, tokens, shapes.values);
  }

  async attend(layer: number, step: number, owner: number): Promise<number> {
    const { op, recorder } = this.opened;
    const { pieces, words, lists, own, held } = this.begun();
    const kind = lists.kind(this.layerKind(layer));
    const slab = owner === this.rank() ? own : held;
    if (step === 0) this.turns = pieces.map(() => 0);
    for (const [index, piece] of pieces.entries()) {
      let carry = step > 0;
      const positions = this.positions(layer, index);
      for (const { band, copy, list } of kind.seen[owner][index]) {
        const turn = this.turns[index];
        const into = { out: piece.out, lse: piece.lse[1 - turn], before: piece.lse[turn], carry };
        const seen = { words, offsets: list };
        op.attendPrefill(bandRows(piece, positions, band), slabCopy(slab, copy), seen, into, spanOf(piece)); // [T, H, D]
        this.turns[index] = turn === 0 ? 1 : 0;
        carry = true;
      }
      recorder.submit();
    }
    await recorder.finish();
    return kind.pairs[owner];
  }

  async finish(layer: number, isTapped: boolean) {
    const { op, recorder } = this.opened;
    const { pieces, tap } = this.begun();
    const bands = isTapped ? this.begun().lists.kind(this.layerKind(layer)).bands.length : 0;
    for (const [index, piece] of pieces.entries()) {
      const { buffer: samples, count } = tap.samples[index];
      const lse = piece.lse[this.turns[index]];
      for (let band = 0; band < bands && count > 0; band++) {
        const rows = bandRows(piece, this.positions(layer, index), band);
        op.saveTap(rows, lse, samples, { queries: tap.queries[band], lse: tap.lse }, { count, withLse: band === 0 });
      }
      addAttended(this.parts(piece), layer, piece.tokens); // [T, E]
      recorder.submit();
    }
    if (!isTapped) return undefined;
    const { headCount: H, headDim: D } = this.spec;
    const count = this.present(this.shard).tapRows.length;
    const all = (source: GPUBuffer, width: number): RangesOf => ({ source, ranges: [{ at: 0, bytes: 4 * count * width }] });
    const queries = tap.queries.slice(0, bands).map((source) => all(source, H * D));
    const [lse, ...ofBands] = (await this.opened.reader.read([all(tap.lse, H), ...queries])).map(
      (rows) => new Float32Array(rows),
    );
    return { queries: ofBands, lse };
  }

  rows(block: { keys: readonly ArrayBuffer[]; values: ArrayBuffer }, tokens: number) {
    const { shapes } = this.begun();
    return {
      keys: block.keys.map((keys) => rowsOfWire(keys, tokens, shapes.keys)),
      values: rowsOfWire(block.values, tokens, shapes.values),
    };
  }

  async states(first: number): Promise<Float32Array<ArrayBuffer>> {
    const { hiddenSize: E } = this.spec;
    const parts = this.begun().pieces.flatMap(({ x, start, tokens }): RangesOf[] => {
      const from = Math.max(0, first - start);
      return from >= tokens ? [] : [{ source: x, ranges: [{ at: 4 * from * E, bytes: 4 * (tokens - from) * E }] }];
    });
    return joined(await this.opened.reader.read(parts));
  }

  end(): void {
    this.buffers?.destroy();
    this.buffers = undefined;
    this.shard = undefined;
    this.opened.recorder.forget();
  }

  dispose(): void {
    this.opened.gpu.destroy();
  }

  /** What the products of a piece read and write: its own residual stream and projection, and buffers that pieces share. */
  private parts({ ids, x, qkv, out }: PieceBuffers): LayerParts {
    const { op, weights, acts } = this.opened;
    return { spec: this.spec, op, weights, acts: { ...acts, ids, x, qkv, attended: out } };
  }

  private positions(layer: number, piece: number): LayerPositions {
    const { words, lists, pieces } = this.begun();
    const kind = this.layerKind(layer);
    const angles = pieces[piece].angles.get(kind.rotation);
    return {
      bands: lists.kind(kind).bands,
      angles: angles?.buffers,
      pairs: angles?.pairs ?? 0,
      words,
      lists: [],
      slotsAt: lists.slotsAt[piece],
    };
  }

  private ownCache(): CacheLayer {
    return { slabs: [this.begun().own], retention: keepsAll, tails: undefined };
  }

  /** Copies of the keys that a layer reads. */
  private copies(layer: number): number {
    return this.layerKind(layer).rotation === "main" ? this.present(this.shard).plan.copies.length : 1;
  }

  private layerKind(layer: number) {
    return this.present(this.spec.layers[layer]);
  }

  private rank(): number {
    return this.present(this.shard).rank;
  }

  private tokensOf(rank: number): number {
    return this.present(this.shard).shards[rank].length;
  }

  private begun(): ShardBuffers {
    return this.present(this.buffers);
  }

  private present<T>(value: T | undefined): T {
    if (value === undefined) throw new RangeError("a rank computes before it has a shard");
    return value;
  }
}

function spanOf({ start, tokens }: PieceBuffers): Span {
  return { start, tokens };
}

/** Parts behind each other, as numbers. */
function joined(parts: readonly ArrayBuffer[]): Float32Array<ArrayBuffer> {
  const whole = new Float32Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0) / 4);
  let at = 0;
  for (const part of parts) {
    whole.set(new Float32Array(part), at);
    at += part.byteLength / 4;
  }
  return whole;
}
