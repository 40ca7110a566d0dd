import type { DecoderSpec, ModelSpec, RunnerOptions, WeightFormat, WeightStore } from "../../api.ts";
import { EngineError, throwIfAborted } from "../../errors.ts";
import { Q8_BLOCK, quantizeQ8 } from "../../formats/q8.ts";
import {
  checkWeights,
  EMBEDDING,
  embeddingNormNames,
  finalNormNames,
  headName,
  layerNames,
  storedFormat,
  tensorShapes,
  type TensorPair,
} from "../../models/weights.ts";
import { outerNames } from "../../recurrent/weights.ts";
import { alloc32, layerNorm } from "../../reference/ops.ts";
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
  embeddingNorm: Norm | undefined;
}

/**
 * Reads the weights layer by layer into graphs, so that beside the weights only one layer is in memory twice.
 * Throws `limit-exceeded` before anything is read when they cannot fit.
 */
export async function loadDecoder(spec: DecoderSpec, options: RunnerOptions, load: GraphLoader): Promise<Decoder> {
  checkWeights(spec, options.weights);
  refuseTooLarge(spec, options.weightFormat);
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
    return { layers, attend, attendMasked, probability, heads, embedding, embeddingNorm };
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
/** What is left of WebAssembly's 4 GiB for weights, beside activations and one layer's second copy while it is loaded. */
const WEIGHT_LIMIT_BYTES = 3 * 2 ** 30;

const bytesPerValue: Readonly<Record<LinearWeight["kind"], number>> = { f32: 4, q8_0: 1 + 4 / Q8_BLOCK };

/** Throws `limit-exceeded` where the weights cannot fit. A table that only looks rows up stays outside WebAssembly. */
export function refuseTooLarge(spec: ModelSpec, format: WeightFormat): void {
  let bytes = 0;
  for (const [name, shape] of tensorShapes(spec)) {
    if (isEmbedding(spec, name) && !spec.tiedEmbeddings) continue;
    bytes += sizeOf(shape) * bytesPerValue[storedFormat(name, shape, format)];
  }
  if (bytes <= WEIGHT_LIMIT_BYTES) return;
  const needMiB = Math.ceil(bytes / 2 ** 20);
  const haveMiB = WEIGHT_LIMIT_BYTES / 2 ** 20;
  const remedy = format === "f32" ? "store the weights as q8_0, or use WebGPU" : "use WebGPU, or a smaller model";
  const message = `the weights need ${needMiB} MiB and WebAssembly holds ${haveMiB} MiB of weights`;
  throw new EngineError("limit-exceeded", message, remedy, { needMiB, haveMiB });
}

function isEmbedding(spec: ModelSpec, name: string): boolean {
  return name === (spec.kind === "decoder" ? EMBEDDING : outerNames(spec).embedding);
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
  const sliceRows = Math.max(1, Math.floor(HEAD_SLICE_BYTES / (table.columns * bytesPerValue[table.kind])));
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
  private doneBytes = 0;

  constructor(spec: ModelSpec, options: RunnerOptions) {
    this.spec = spec;
    this.store = options.weights;
    this.format = options.weightFormat;
    this.signal = options.signal;
    this.onProgress = options.onProgress?.bind(options);
    this.totalBytes = [...tensorShapes(this.spec).values()].reduce((sum, shape) => sum + sizeOf(shape) * 4, 0);
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
    if (storedFormat(name, shape, this.format) === "f32") return { kind: "f32", rows, columns, data: await this.vector(name) };
    const codes = new Uint8Array(rows * columns);
    const scales = new Float32Array((rows * columns) / Q8_BLOCK);
    const pieceRows = Math.max(1, Math.floor(HEAD_SLICE_BYTES / (columns * 4)));
    for (let start = 0; start < rows; start += pieceRows) {
      throwIfAborted(this.signal);
      const piece = await this.store.readRows(name, start, Math.min(rows, start + pieceRows), this.signal);
      const quantised = quantizeQ8(piece, columns);
      scales.set(quantised.scales, (start * columns) / Q8_BLOCK);
      const at = start * columns;
      quantised.values.forEach((value, index) => (codes[at + index] = value + CODE_ZERO));
      this.doneBytes += piece.byteLength;
      this.onProgress?.(this.doneBytes, this.totalBytes);
    }
    return { kind: "q8_0", rows, columns, codes, scales };
  }
}

/** The unsigned code that stands for 0. */
const CODE_ZERO = 128;

/** Number `index` of a table, row by row. */
export function valueAt(table: LinearWeight, index: number): number {
  if (table.kind === "f32") return table.data[index];
  return (table.codes[index] - CODE_ZERO) * table.scales[Math.floor(index / Q8_BLOCK)];
}

function rowsOf(table: LinearWeight, start: number, end: number): LinearWeight {
  const { columns } = table;
  const rows = end - start;
  if (table.kind === "f32") return { kind: "f32", rows, columns, data: table.data.subarray(start * columns, end * columns) };
  return {
    kind: "q8_0",
    rows,
    columns,
    codes: table.codes.subarray(start * columns, end * columns),
    scales: table.scales.subarray((start * columns) / Q8_BLOCK, (end * columns) / Q8_BLOCK),
  };
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
