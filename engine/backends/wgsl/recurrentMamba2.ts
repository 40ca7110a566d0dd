/** Mamba-2 on the GPU, in the order of reference/mamba2.ts. E hidden size, H heads of width P, I = H P, G groups, C = I + 2 G N, T tokens. */
import type { Mamba2Spec } from "../../api.ts";
import type { WeightLoader } from "./loadWeights.ts";
import type { Matrix } from "../../kernels/linear.ts";
import type { NormWeights } from "../../kernels/ops.ts";
import { openMamba2Operations, type ConvWeights, type SsdWeights } from "../../kernels/recurrentOps.ts";
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
import { mamba2Chunk } from "../../recurrent/chunkSizes.ts";
import { mamba2Names } from "../../recurrent/weights.ts";

interface LayerWeights {
  norm: NormWeights;
  inProjection: Matrix;
  convolution: ConvWeights;
  scan: SsdWeights;
  gatedNorm: GPUBuffer;
  outProjection: Matrix;
}

/** Reads the weights and makes the buffers. Throws what the loader throws. */
export async function openMamba2Pass(spec: Mamba2Spec, tools: PassTools): Promise<GpuPass> {
  const { gpu, shaders, recorder, loader, placeholder } = tools;
  const { maxTokens, bytes } = mamba2Chunk(spec, gpu.maxBufferBytes, tools.wantedTokens);
  const outerWeights = await loadOuter(spec, loader);
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < spec.layerCount; layer++) layers.push(await loadLayer(spec, layer, loader));
  const linear = await openProducts(outerWeights, layers.flatMap(matricesOf), tools, maxTokens);
  const op = await openMamba2Operations(spec, linear, shaders, recorder, placeholder);
  const work = chunkBuffers(gpu, bytes);
  const outer = openOuter(spec, op, tools, work, outerWeights);
  const { x, normed, inner, mixed, y } = work;

  return {
    maxTokens,
    ...outer,
    runLayer(layer, tokens) {
      const w = layers[layer];
      const [tail, state] = partsOf(outer.state, layer);
      op.norm(x, w.norm, normed, tokens); // [T, E]
      op.linear(normed, w.inProjection, inner, tokens); // [T, I + C + H]
      op.convolve(inner, w.convolution, tail, mixed, tokens); // [T, C]
      op.scan(inner, mixed, w.scan, state, work, y, tokens); // [T, H, P]
      op.gatedNorm(y, inner, w.gatedNorm, tokens); // [T, I]
      op.linear(y, w.outProjection, x, tokens, "add"); // [T, E]
    },
  };
}

function matricesOf({ inProjection, outProjection }: LayerWeights): Matrix[] {
  return [inProjection, outProjection];
}

async function loadLayer(spec: Mamba2Spec, layer: number, loader: WeightLoader): Promise<LayerWeights> {
  const names = mamba2Names(spec, layer);
  return {
    norm: await normWeights(loader, { weight: names.norm, bias: undefined }),
    inProjection: await affineMatrix(loader, names.inProjection),
    convolution: await normWeights(loader, names.convolution),
    scan: {
      timeStepBias: await loader.vector(names.timeStepBias),
      decayLog: await loader.vector(names.decayLog),
      skip: await loader.vector(names.skip),
    },
    gatedNorm: await loader.vector(names.gatedNorm),
    outProjection: await affineMatrix(loader, names.outProjection),
  };
}
