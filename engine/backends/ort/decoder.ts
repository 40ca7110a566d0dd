import type { DecoderSpec, ModelSpec, RunnerOptions, WeightFormat, WeightStore } from "../../api.ts";
import { EngineError, throwIfAborted } from "../../errors.ts";
import { openQuantizationError, readStored, storedFormat } from "../../formats/stored.ts";
import { WASM_WEIGHT_BYTES } from "../../models/memory.ts";
import {
  checkWeights,
  EMBEDDING,
  embeddingNormNames,
  finalNormNames,
  headName,
  layerNames,
  tensorShapes,
  type TensorPair,
} from "../../models/weights.ts";
import { outerNames } from "../../recurrent/weights.ts";
import { alloc32, layerNorm } from "../../reference/ops.ts";
import { blockBytes, blockRows, numberAt, openBlockWeight, putRows } from "./blockWeights.ts";
import {
  attendGraph,
  finishGraph,
  headGraph,
  probabilityGraph,
  projectGraph,
  type Linear,
  type LinearWeight,
  type Norm,
} from "./layerGraphs.ts";
import type { GraphLoader, OrtGraph } from "./ortGraph.ts";

/** All graphs of one model, ready to run, and the embedding table, which stays outside WebAssembly. */
export interface Decoder {
  layers: readonly { project: OrtGraph; finish: OrtGraph }[];
  /** For blocks of keys that every query sees, and for others. */
  attend: OrtGraph;
  attendMasked: OrtGraph;
  probability: OrtGraph;
  /** Slices of the vocabulary, in order. */
  heads: readonly { graph: OrtGraph; rows: number }[];
  /** The table [V, E], before the embedding multiplier. */
  embedding: LinearWeight;
  /** Relative RMS error of what was quantised on load; undefined where nothing was. */
  quantizationError: number | undefined;
  embeddingNorm: Norm | undefined;
}

/**
 * Reads the weights layer by layer into graphs, so that beside the weights only one layer is in memory twice.
 * Throws `limit-exceeded` before anything is read when they cannot fit.
 */
export async function loadDecoder(spec: DecoderSpec, options: RunnerOptions, load: GraphLoader): Promise<Decoder> {
  checkWeights(spec, options.weights);
  refuseTooLarge(spec, options.weights, options.weightFormat);
  const reader = new WeightReader(spec, options);
  const made: OrtGraph[] = [];
  const make = async (graph: Parameters<GraphLoader>[0]): Promise<OrtGraph> => {
    const ready = await load(graph);
    made.push(ready);
    return ready;
  };
  try {
    const attend = await make(attendGraph(spec, false));
    const attendMasked = await make(attendGraph(spec, true));
    const probability = await make(probabilityGraph(spec));
    const embedding = await reader.matrix(EMBEDDING);
    const embeddingNorm = await reader.optionalNorm(embeddingNormNames(spec));
    const layers: { project: OrtGraph; finish: OrtGraph }[] = [];
    for (let layer = 0; layer < spec.layerCount; layer++) layers.push(await loadLayer(spec, layer, reader, make));
    const heads = await loadHeads(spec, embedding, reader, make);
    return {
      layers,
      attend,
      attendMasked,
      probability,
      heads,
      embedding,
      embeddingNorm,
      quantizationError: reader.quantizationError(),
    };
  } catch (error) {
    for (const graph of made) await graph.release();
    throw error;
  }
}

/** Rows `ids` of the embedding table, times the multiplier and normed where the model does that, as [n, E]. */
export function embed(
  spec: DecoderSpec,
  { embedding: table, embeddingNorm }: Pick<Decoder, "embedding" | "embeddingNorm">,
  ids: readonly number[] | Int32Array,
): Float32Array<ArrayBuffer> {
  const width = spec.hiddenSize;
  const hidden = new Float32Array(ids.length * width);
  for (let token = 0; token < ids.length; token++) {
    const row = ids[token] * width;
    for (let column = 0; column < width; column++) {
      hidden[token * width + column] = valueAt(table, row + column) * spec.embeddingMultiplier;
    }
  }
  if (embeddingNorm === undefined) return hidden;
  return Float32Array.from(layerNorm(alloc32, hidden, embeddingNorm.weight, embeddingNorm.bias, spec.normEps));
}

/** Bytes of one slice of the output head: small enough that making its graph never needs a large second copy. */
const HEAD_SLICE_BYTES = 64 * 2 ** 20;

/** Throws `limit-exceeded` where the weights cannot fit. A table that only looks rows up stays outside WebAssembly. */
export function refuseTooLarge(spec: ModelSpec, weights: WeightStore, format: WeightFormat): void {
  let bytes = 0;
  for (const [name, shape] of tensorShapes(spec)) {
    if (isEmbedding(spec, name) && !spec.tiedEmbeddings) continue;
    bytes += bytesInMemory(keptFormat(name, shape, weights, format), sizeOf(shape));
  }
  if (bytes <= WASM_WEIGHT_BYTES) return;
  const needMiB = Math.ceil(bytes / 2 ** 20);
  const haveMiB = WASM_WEIGHT_BYTES / 2 ** 20;
  const remedy = format === "q4_0" ? "use WebGPU, or a smaller model" : "store the weights as q8_0 or q4_0, or use WebGPU";
  const message = `the weights need ${needMiB} MiB and WebAssembly holds ${haveMiB} MiB of weights`;
  throw new EngineError("limit-exceeded", message, remedy, { needMiB, haveMiB });
}

function isEmbedding(spec: ModelSpec, name: string): boolean {
  return name === (spec.kind === "decoder" ? EMBEDDING : outerNames(spec).embedding);
}

/** Blocks of Q8_0 and Q4_0 are kept, from the file or rounded on load; onnxruntime has no kernel here for the others, which become f32. */
function keptFormat(name: string, shape: readonly number[], weights: WeightStore, format: WeightFormat): LinearWeight["kind"] {
  const stored = storedFormat(name, shape, weights.format(name), format);
  return stored === "q8_0" || stored === "q4_0" ? stored : "f32";
}

function bytesInMemory(kind: LinearWeight["kind"], numbers: number): number {
  return kind === "f32" ? 4 * numbers : blockBytes(kind, numbers);
}

async function loadLayer(
  spec: DecoderSpec,
  layer: number,
  reader: WeightReader,
  make: GraphLoader,
): Promise<{ project: OrtGraph; finish: OrtGraph }> {
  const names = layerNames(spec, layer);
  const project = projectGraph(spec, {
    norm: await reader.norm(names.attentionNorm),
    q: await reader.linear(names.query),
    k: await reader.linear(names.key),
    v: await reader.linear(names.value),
    qNorm: await reader.optionalVector(names.queryNorm, spec.normOffset),
    kNorm: await reader.optionalVector(names.keyNorm, spec.normOffset),
    keyShift: await reader.optionalVector(names.keyShift),
  });
  const projectReady = await make(project);
  const finish = finishGraph(spec, {
    out: await reader.linear(names.output),
    attentionPostNorm: await reader.optionalNorm(names.attentionPostNorm),
    norm: await reader.norm(names.mlpNorm),
    gate: names.gate === undefined ? undefined : await reader.linear(names.gate),
    up: await reader.linear(names.up),
    down: await reader.linear(names.down),
    mlpPostNorm: await reader.optionalNorm(names.mlpPostNorm),
  });
  return { project: projectReady, finish: await make(finish) };
}

async function loadHeads(spec: DecoderSpec, embedding: LinearWeight, reader: WeightReader, make: GraphLoader) {
  const norm = await reader.norm(finalNormNames(spec));
  const table = spec.tiedEmbeddings ? embedding : await reader.matrix(headName(spec));
  const heads: { graph: OrtGraph; rows: number }[] = [];
  for (const slice of headSlices(table)) heads.push({ graph: await make(headGraph(spec, norm, slice)), rows: slice.rows });
  return heads;
}

/** The head's table in slices of at most HEAD_SLICE_BYTES. */
export function headSlices(table: LinearWeight): LinearWeight[] {
  const sliceRows = Math.max(1, Math.floor(HEAD_SLICE_BYTES / bytesInMemory(table.kind, table.columns)));
  const slices: LinearWeight[] = [];
  for (let start = 0; start < table.rows; start += sliceRows) {
    slices.push(rowsOf(table, start, Math.min(table.rows, start + sliceRows)));
  }
  return slices;
}

/** Reads tensors into the format they are stored in here. Progress counts every tensor as f32, which is how the store hands it out. */
export class WeightReader {
  private readonly spec: ModelSpec;
  private readonly store: WeightStore;
  private readonly format: WeightFormat;
  private readonly signal: RunnerOptions["signal"];
  private readonly onProgress: RunnerOptions["onProgress"];
  private readonly totalBytes: number;
  /** Of what is rounded on load. */
  private readonly error = openQuantizationError();
  private doneBytes = 0;

  constructor(spec: ModelSpec, options: RunnerOptions) {
    this.spec = spec;
    this.store = options.weights;
    this.format = options.weightFormat;
    this.signal = options.signal;
    this.onProgress = options.onProgress?.bind(options);
    this.totalBytes = [...tensorShapes(this.spec).values()].reduce((sum, shape) => sum + sizeOf(shape) * 4, 0);
  }

  quantizationError(): number | undefined {
    return this.error.relativeRms();
  }

  async vector(name: string): Promise<Float32Array<ArrayBuffer>> {
    throwIfAborted(this.signal);
    const data = await this.store.readRows(name, undefined, undefined, this.signal);
    this.doneBytes += data.byteLength;
    this.onProgress?.(this.doneBytes, this.totalBytes);
    return data;
  }

  /** A vector with `offset` added to each number. */
  async optionalVector(name: string | undefined, offset = 0): Promise<Float32Array<ArrayBuffer> | undefined> {
    return name === undefined ? undefined : (await this.vector(name)).map((value) => value + offset);
  }

  async norm({ weight, bias }: TensorPair): Promise<Norm> {
    const normOffset = this.spec.kind === "decoder" ? this.spec.normOffset : 0;
    return {
      weight: (await this.vector(weight)).map((value) => value + normOffset),
      bias: bias === undefined ? undefined : await this.vector(bias),
    };
  }

  async optionalNorm(names: TensorPair | undefined): Promise<Norm | undefined> {
    return names === undefined ? undefined : this.norm(names);
  }

  async linear({ weight, bias }: TensorPair): Promise<Linear> {
    return { weight: await this.matrix(weight), bias: await this.optionalVector(bias) };
  }

  async matrix(name: string): Promise<LinearWeight> {
    const shape = this.store.shape(name);
    const [rows = 0, columns = 0] = shape;
    const kind = keptFormat(name, shape, this.store, this.format);
    if (kind === "f32") return { kind, rows, columns, data: await this.vector(name) };
    const weight = openBlockWeight(kind, rows, columns);
    const pieceRows = Math.max(1, Math.floor(HEAD_SLICE_BYTES / (columns * 4)));
    for (let start = 0; start < rows; start += pieceRows) {
      throwIfAborted(this.signal);
      const end = Math.min(rows, start + pieceRows);
      putRows(weight, start, await readStored(this.store, name, kind, [start, end], this.error, this.signal));
      this.doneBytes += (end - start) * columns * 4;
      this.onProgress?.(this.doneBytes, this.totalBytes);
    }
    return weight;
  }
}

/** Number `index` of a table, row by row. */
export function valueAt(table: LinearWeight, index: number): number {
  return table.kind === "f32" ? table.data[index] : numberAt(table, index);
}

function rowsOf(table: LinearWeight, start: number, end: number): LinearWeight {
  if (table.kind !== "f32") return blockRows(table, start, end);
  const { kind, columns, data } = table;
  return { kind, rows: end - start, columns, data: data.subarray(start * columns, end * columns) };
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
