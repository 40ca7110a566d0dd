/** RWKV-7 on the GPU, in the order of reference/rwkv7.ts. E hidden size, H heads of width P, F width of the channel mix, T tokens. */
import type { Rwkv7Spec } from "../../api.ts";
import type { WeightLoader } from "./loadWeights.ts";
import { SIGMOID, SQUARED_RELU, TANH } from "../../kernels/activate.ts";
import type { Matrix } from "../../kernels/linear.ts";
import type { NormWeights } from "../../kernels/ops.ts";
import { openRwkv7Operations, type Rwkv7Operations, type WkvRows } from "../../kernels/recurrentOps.ts";
import {
  affineMatrix,
  chunkBuffers,
  normWeights,
  loadOuter,
  openOuter,
  openProducts,
  partsOf,
  type GpuPass,
  type PassTools,
} from "./recurrentPass.ts";
import { rwkv7Chunk } from "../../recurrent/chunkSizes.ts";
import { rwkv7Names, type LowRankNames, type Mix } from "../../recurrent/weights.ts";

interface LowRank {
  down: Matrix;
  up: Matrix;
}

interface LayerWeights {
  attentionNorm: NormWeights;
  mixes: Readonly<Record<Mix, GPUBuffer>>;
  receptance: Matrix;
  key: Matrix;
  value: Matrix;
  output: Matrix;
  decay: LowRank;
  rate: LowRank;
  valueMix: LowRank | undefined;
  gate: LowRank;
  keys: { removalKey: GPUBuffer; keyRate: GPUBuffer };
  /** [3, E]: weight and bias of the heads' norm, and the bonus. */
  finish: GPUBuffer;
  mlpNorm: NormWeights;
  mlpMix: GPUBuffer;
  mlpKey: Matrix;
  mlpValue: Matrix;
}

/** Reads the weights and makes the buffers. Throws what the loader throws. */
export async function openRwkv7Pass(spec: Rwkv7Spec, tools: PassTools): Promise<GpuPass> {
  const { gpu, shaders, recorder, loader, placeholder } = tools;
  const { intermediateSize: F } = spec;
  const { maxTokens, bytes } = rwkv7Chunk(spec, gpu.maxBufferBytes, tools.wantedTokens);
  const outerWeights = await loadOuter(spec, loader, rwkv7Names(0).embeddingNorm);
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < spec.layerCount; layer++) layers.push(await loadLayer(layer, loader));
  const linear = await openProducts(outerWeights, layers.flatMap(matricesOf), tools, maxTokens);
  const op = await openRwkv7Operations(spec, linear, shaders, recorder, placeholder);
  const shared = chunkBuffers(gpu, bytes);
  const outer = openOuter(spec, op, tools, shared, outerWeights);
  const { x, normed, shifted, low, firstValues, ownValues, gate, y, mlp } = shared;

  function timeMix(w: LayerWeights, state: readonly GPUBuffer[], tokens: number): void {
    const [attentionInput, , wkv] = state;
    // Layer 0 makes the values that the others mix in.
    const value = w.valueMix === undefined ? firstValues : ownValues;
    const wkvRows: WkvRows = { ...shared, value };
    const shift = (mix: Mix): GPUBuffer => {
      op.tokenShift(normed, attentionInput, w.mixes[mix], shifted, tokens); // [T, E]
      return shifted;
    };
    op.linear(shift("r"), w.receptance, shared.receptance, tokens); // [T, E], as all below
    lowRank(op, shift("w"), w.decay, low, shared.decay, tokens, TANH);
    op.linear(shift("k"), w.key, shared.key, tokens);
    op.linear(shift("v"), w.value, value, tokens);
    if (w.valueMix !== undefined) {
      // The share needs a place for as long as it takes to mix: that of the scan's output, which comes later.
      lowRank(op, shifted, w.valueMix, low, y, tokens);
      op.mixValues(value, firstValues, y, tokens);
    }
    lowRank(op, shift("a"), w.rate, low, shared.rate, tokens);
    lowRank(op, shift("g"), w.gate, low, gate, tokens, SIGMOID);
    op.keepLast(normed, attentionInput, tokens);
    op.prepare(wkvRows, w.keys, tokens); // [T, H, P]
    op.scan(wkvRows, wkv, y, tokens);
    op.finish(y, wkvRows, gate, w.finish, tokens);
    op.linear(y, w.output, x, tokens, "add");
  }

  return {
    maxTokens,
    ...outer,
    runLayer(layer, tokens) {
      const w = layers[layer];
      const parts = partsOf(outer.state, layer);
      const [, mlpInput] = parts;
      op.norm(x, w.attentionNorm, normed, tokens); // [T, E]
      timeMix(w, parts, tokens);

      op.norm(x, w.mlpNorm, normed, tokens); // [T, E]
      op.tokenShift(normed, mlpInput, w.mlpMix, shifted, tokens); // [T, E]
      op.keepLast(normed, mlpInput, tokens);
      op.linear(shifted, w.mlpKey, mlp, tokens); // [T, F]
      op.activate(mlp, tokens * F, SQUARED_RELU);
      op.linear(mlp, w.mlpValue, x, tokens, "add"); // [T, E]
    },
  };
}

/** y [T, E] = up(act(down x)) + bias, through low [T, rank]. */
function lowRank(
  op: Rwkv7Operations,
  x: GPUBuffer,
  map: LowRank,
  low: GPUBuffer,
  y: GPUBuffer,
  tokens: number,
  activation?: number,
): void {
  op.linear(x, map.down, low, tokens);
  if (activation !== undefined) op.activate(low, tokens * map.down.rows, activation);
  op.linear(low, map.up, y, tokens);
}

function matricesOf(w: LayerWeights): Matrix[] {
  const lowRanks = [w.decay, w.rate, w.gate, ...(w.valueMix === undefined ? [] : [w.valueMix])];
  const square = [w.receptance, w.key, w.value, w.output, w.mlpKey, w.mlpValue];
  return [...square, ...lowRanks.flatMap(({ down, up }) => [down, up])];
}

async function loadLayer(layer: number, loader: WeightLoader): Promise<LayerWeights> {
  const names = rwkv7Names(layer);
  const matrix = (name: string): Promise<Matrix> => loader.matrix([name]);
  const loadLowRank = async ({ down, up }: LowRankNames): Promise<LowRank> => ({
    down: await matrix(down),
    up: await affineMatrix(loader, up),
  });
  const mix = (kind: Mix): Promise<GPUBuffer> => loader.vector(names.mix(kind));
  return {
    attentionNorm: await normWeights(loader, names.attentionNorm),
    mixes: { r: await mix("r"), w: await mix("w"), k: await mix("k"), v: await mix("v"), a: await mix("a"), g: await mix("g") },
    receptance: await matrix(names.receptance),
    key: await matrix(names.key),
    value: await matrix(names.value),
    output: await matrix(names.output),
    decay: await loadLowRank(names.decay),
    rate: await loadLowRank(names.rate),
    valueMix: names.valueMix === undefined ? undefined : await loadLowRank(names.valueMix),
    gate: await loadLowRank(names.gate),
    keys: { removalKey: await loader.vector(names.removalKey), keyRate: await loader.vector(names.keyRate) },
    finish: await loader.stacked([names.headNorm.weight, names.headNorm.bias ?? names.headNorm.weight, names.bonus]),
    mlpNorm: await normWeights(loader, names.mlpNorm),
    mlpMix: await loader.vector(names.mlpMix),
    mlpKey: await matrix(names.mlpKey),
    mlpValue: await matrix(names.mlpValue),
  };
}
