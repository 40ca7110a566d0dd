/** Mamba on the GPU, in the order of reference/mamba.ts. E hidden size, I inner width, N state size, R rank of the time step, T tokens. */
import type { MambaSpec } from "../../api.ts";
import type { WeightLoader } from "./loadWeights.ts";
import type { Matrix } from "../../kernels/linear.ts";
import type { NormWeights } from "../../kernels/ops.ts";
import { openMambaOperations, type ConvWeights } from "../../kernels/recurrentOps.ts";
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
import { mambaChunk } from "../../recurrent/chunkSizes.ts";
import { mambaNames } from "../../recurrent/weights.ts";

interface LayerWeights {
  norm: NormWeights;
  inProjection: Matrix;
  convolution: ConvWeights;
  selection: Matrix;
  timeStep: Matrix;
  scan: { decayLog: GPUBuffer; skip: GPUBuffer };
  outProjection: Matrix;
}

/** Reads the weights and makes the buffers. Throws what the loader throws. */
export async function openMambaPass(spec: MambaSpec, tools: PassTools): Promise<GpuPass> {
  const { gpu, shaders, recorder, loader, placeholder } = tools;
  const { maxTokens, bytes } = mambaChunk(spec, gpu.maxBufferBytes, tools.wantedTokens);
  const outerWeights = await loadOuter(spec, loader);
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < spec.layerCount; layer++) layers.push(await loadLayer(spec, layer, loader));
  const linear = await openProducts(outerWeights, layers.flatMap(matricesOf), tools, maxTokens);
  const op = await openMambaOperations(spec, linear, shaders, recorder, placeholder);
  const buffers = chunkBuffers(gpu, bytes);
  const outer = openOuter(spec, op, tools, buffers, outerWeights);
  const { x, normed, uz, u, selected, low, step, y } = buffers;

  return {
    maxTokens,
    ...outer,
    runLayer(layer, tokens) {
      const w = layers[layer];
      const [tail, state] = partsOf(outer.state, layer);
      op.norm(x, w.norm, normed, tokens); // [T, E]
      op.linear(normed, w.inProjection, uz, tokens); // [T, 2I]
      op.convolve(uz, w.convolution, tail, u, tokens); // [T, I]
      op.linear(u, w.selection, selected, tokens); // [T, R + 2N]
      op.lowStep(selected, low, tokens); // [T, R]
      op.linear(low, w.timeStep, step, tokens); // [T, I]
      op.scan({ u, step, selected, uz }, w.scan, state, y, tokens); // [T, I]
      op.linear(y, w.outProjection, x, tokens, "add"); // [T, E]
    },
  };
}

function matricesOf({ inProjection, selection, timeStep, outProjection }: LayerWeights): Matrix[] {
  return [inProjection, selection, timeStep, outProjection];
}

async function loadLayer(spec: MambaSpec, layer: number, loader: WeightLoader): Promise<LayerWeights> {
  const names = mambaNames(spec, layer);
  return {
    norm: await normWeights(loader, { weight: names.norm, bias: undefined }),
    inProjection: await affineMatrix(loader, names.inProjection),
    convolution: await normWeights(loader, names.convolution),
    selection: await loader.matrix([names.selection]),
    timeStep: await affineMatrix(loader, names.timeStep),
    scan: { decayLog: await loader.vector(names.decayLog), skip: await loader.vector(names.skip) },
    outProjection: await affineMatrix(loader, names.outProjection),
  };
}
