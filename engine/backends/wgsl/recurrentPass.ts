/** What the passes of recurrent models on the GPU share: buffers of a chunk, the state, embedding and head. */
import type { RecurrentSpec, WeightStore } from "../../api.ts";
import type { WeightLoader } from "./loadWeights.ts";
import { storageBuffer } from "../../gpu/buffers.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import type { Recorder } from "../../gpu/dispatch.ts";
import type { ShaderCache } from "../../gpu/shader.ts";
import { openLinear, type LinearOperations, type Matrix } from "../../kernels/linear.ts";
import type { NormWeights } from "../../kernels/ops.ts";
import { padded4, type CommonOperations } from "../../kernels/recurrentOps.ts";
import type { MatmulVariants } from "../../kernels/variants.ts";
import { weightView } from "../../models/view.ts";
import type { OuterBuffer } from "../../recurrent/chunkSizes.ts";
import { statePartSizes } from "../../recurrent/state.ts";
import { mambaNames, outerNames, recurrentShapes, rwkv7Names, type Affine } from "../../recurrent/weights.ts";

/** A model on the device. Everything is recorded, nothing submitted. */
export interface GpuPass {
  /** Longest chunk. */
  readonly maxTokens: number;
  /** Token ids of the chunk. */
  readonly ids: GPUBuffer;
  /** Parts of every layer's state in the order of state.ts. */
  readonly state: readonly (readonly GPUBuffer[])[];
  /** Final normed state [E] of the last token, and its logits [V]. */
  readonly last: GPUBuffer;
  readonly logits: GPUBuffer;
  readonly op: Pick<CommonOperations, "sample">;
  /** Ids of the chunk -> residual stream. */
  embed(tokens: number): void;
  /** One layer over the chunk: moves its state on and adds to the residual stream. */
  runLayer(layer: number, tokens: number): void;
  /** Final state of the chunk's last token. */
  lastState(tokens: number): void;
  /** Logits of the last token, from its state. */
  lastLogits(): void;
  /** Logits [T, V] of every token of the chunk. */
  allLogits(logits: GPUBuffer, tokens: number): void;
}

/** What a pass is opened with. */
export interface PassTools {
  gpu: EngineDevice;
  shaders: ShaderCache;
  recorder: Recorder;
  loader: WeightLoader;
  /** Stands in for absent inputs. */
  placeholder: GPUBuffer;
  variants: MatmulVariants;
  wantedTokens: number;
}

/** A buffer for each of the sizes. */
export function chunkBuffers<Name extends string>(
  gpu: EngineDevice,
  bytes: Readonly<Record<Name, number>>,
): Record<Name, GPUBuffer> {
  const made = Object.entries<number>(bytes).map(([name, size]) => [name, storageBuffer(gpu, name, size)] as const);
  return Object.fromEntries(made) as Record<Name, GPUBuffer>;
}

/** What lies around the layers. */
export interface OuterWeights {
  embedding: Matrix;
  firstNorm: NormWeights | undefined;
  finalNorm: NormWeights;
  head: Matrix;
}

/** The embedding (normed where `embeddingNorm` names a norm), the final norm and the head. */
export async function loadOuter(spec: RecurrentSpec, loader: WeightLoader, embeddingNorm?: Affine): Promise<OuterWeights> {
  const names = outerNames(spec);
  const embedding = await loader.matrix([names.embedding]);
  return {
    embedding,
    firstNorm: embeddingNorm === undefined ? undefined : await normWeights(loader, embeddingNorm),
    finalNorm: await normWeights(loader, names.finalNorm),
    head: spec.tiedEmbeddings ? embedding : await loader.matrix([names.head]),
  };
}

/** Products with all matrices of a model. */
export function openProducts(
  { embedding, head }: OuterWeights,
  inLayers: readonly Matrix[],
  tools: PassTools,
  maxTokens: number,
): Promise<LinearOperations> {
  const uses = [{ matrix: embedding, table: true }, ...[head, ...inLayers].map((matrix) => ({ matrix }))];
  return openLinear(uses, { ...tools, maxTokens });
}

/** Residual stream, embedding, final norm and head, around the layers that the family brings. */
export function openOuter(
  spec: RecurrentSpec,
  op: CommonOperations,
  { gpu }: PassTools,
  { ids, x, normed, last, logits }: Record<OuterBuffer, GPUBuffer>,
  { embedding, firstNorm, finalNorm, head }: OuterWeights,
) {
  const sizes = statePartSizes(spec);
  const state = Array.from({ length: spec.layerCount }, () => sizes.map((size) => storageBuffer(gpu, "state", size * 4)));
  return {
    ids,
    last,
    logits,
    state,
    op,
    embed(tokens: number): void {
      op.embed(ids, embedding, firstNorm === undefined ? x : normed, tokens); // [T, E]
      if (firstNorm !== undefined) op.norm(normed, firstNorm, x, tokens); // [T, E]
    },
    lastState: (tokens: number): void => op.norm(x, finalNorm, last, 1, tokens - 1), // [1, E]
    lastLogits: (): void => op.linear(last, head, logits, 1), // [V]
    allLogits(target: GPUBuffer, tokens: number): void {
      op.norm(x, finalNorm, normed, tokens); // [T, E]
      op.linear(normed, head, target, tokens); // [T, V]
    },
  };
}

export async function normWeights(loader: WeightLoader, { weight, bias }: Affine): Promise<NormWeights> {
  return { weight: await loader.vector(weight), bias: bias === undefined ? undefined : await loader.vector(bias) };
}

export async function affineMatrix(loader: WeightLoader, { weight, bias }: Affine): Promise<Matrix> {
  return loader.matrix([weight], [bias]);
}

/** Buffers of one layer's state. */
export function partsOf(state: readonly (readonly GPUBuffer[])[], layer: number): readonly GPUBuffer[] {
  const parts = state[layer];
  if (parts === undefined) throw new RangeError(`layer ${layer} of ${state.length}`);
  return parts;
}

/**
 * The weights with every rank filled up with zeros to a multiple of four, because matrices are read by fours along their rows: more rows
 * of the first matrix of a low-rank map, more columns of the second. What is a multiple of four already stays as it is in the file.
 */
export function withPaddedRanks(spec: RecurrentSpec, store: WeightStore): WeightStore {
  const shapes = recurrentShapes(spec);
  const inner = rankMatrices(spec);
  return weightView(store, (name) => {
    const shape = shapes.get(name);
    if (shape === undefined) return undefined;
    const axis = inner.get(name);
    const [rows = 1, columns = 1] = shape;
    const rank = axis === "rows" ? rows : columns;
    if (axis === undefined || rank === padded4(rank)) return { name, shape };
    const picked = {
      count: rows * columns,
      at: (index: number): number | undefined => {
        if (axis === "rows") return index < rows * columns ? index : undefined;
        const column = index % padded4(rank);
        return column < columns ? Math.floor(index / padded4(rank)) * columns + column : undefined;
      },
    };
    return { name, shape: axis === "rows" ? [padded4(rows), columns] : [rows, padded4(columns)], picked };
  });
}

/** Which axis of a matrix is a rank. */
function rankMatrices(spec: RecurrentSpec): ReadonlyMap<string, "rows" | "columns"> {
  const found = new Map<string, "rows" | "columns">();
  for (let layer = 0; layer < spec.layerCount; layer++) {
    if (spec.kind === "mamba") found.set(mambaNames(spec, layer).timeStep.weight, "columns");
    if (spec.kind !== "rwkv7") continue;
    const { decay, rate, valueMix, gate } = rwkv7Names(layer);
    for (const map of [decay, rate, valueMix, gate]) {
      if (map !== undefined) found.set(map.down, "rows").set(map.up.weight, "columns");
    }
  }
  return found;
}
