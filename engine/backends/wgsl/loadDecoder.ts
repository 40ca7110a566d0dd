/** A transformer's weights onto the device, layer by layer. */
import type { DecoderSpec, WeightStore } from "../../api.ts";
import { throwIfAborted } from "../../errors.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import type { NormWeights } from "../../kernels/ops.ts";
import type { DecoderWeights, LayerWeights } from "../../models/decoder.ts";
import {
  EMBEDDING,
  embeddingNormNames,
  finalNormNames,
  headName,
  layerNames,
  parameterCount,
  type TensorPair,
} from "../../models/weights.ts";
import { loadMatrix, vector, type Loader, type LoadOptions } from "./loadWeights.ts";

/** Reads and uploads the whole model. Throws `aborted`, `limit-exceeded` when the device runs out, or what the store throws. */
export async function loadDecoder(
  spec: DecoderSpec,
  weights: WeightStore,
  gpu: EngineDevice,
  options: LoadOptions,
): Promise<DecoderWeights> {
  const totalBytes = parameterCount(spec) * 4;
  let doneBytes = 0;
  const loader: Loader = {
    gpu,
    options,
    read: async (name, start, end) => {
      throwIfAborted(options.signal);
      const rows = await weights.readRows(name, start, end, options.signal);
      doneBytes += rows.byteLength;
      options.onProgress?.(doneBytes, totalBytes);
      return rows;
    },
    shape: (name) => weights.shape(name),
  };
  const embedding = await loadMatrix(loader, [EMBEDDING], []);
  const embeddingNorm = await optionalNorm(loader, spec, embeddingNormNames(spec));
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < spec.layerCount; layer++) layers.push(await loadLayer(loader, spec, layer));
  const finalNorm = await norm(loader, spec, finalNormNames(spec));
  const head = spec.tiedEmbeddings ? embedding : await loadMatrix(loader, [headName(spec)], []);
  return { embedding, embeddingNorm, layers, finalNorm, head };
}

async function loadLayer(loader: Loader, spec: DecoderSpec, layer: number): Promise<LayerWeights> {
  const names = layerNames(spec, layer);
  const { queryNorm, keyNorm, keyShift } = names;
  return {
    attentionNorm: await norm(loader, spec, names.attentionNorm),
    qkv: await joined(loader, [names.query, names.key, names.value]),
    keyShift: keyShift === undefined ? undefined : await vector(loader, keyShift),
    headNorms:
      queryNorm === undefined || keyNorm === undefined
        ? undefined
        : { query: await vector(loader, queryNorm, spec.normOffset), key: await vector(loader, keyNorm, spec.normOffset) },
    output: await joined(loader, [names.output]),
    attentionPostNorm: await optionalNorm(loader, spec, names.attentionPostNorm),
    mlpNorm: await norm(loader, spec, names.mlpNorm),
    gateUp: await joined(loader, names.gate === undefined ? [names.up] : [names.gate, names.up]),
    down: await joined(loader, [names.down]),
    mlpPostNorm: await optionalNorm(loader, spec, names.mlpPostNorm),
  };
}

/** Projections behind each other as one matrix. */
function joined(loader: Loader, pairs: readonly TensorPair[]): ReturnType<typeof loadMatrix> {
  return loadMatrix(
    loader,
    pairs.map(({ weight }) => weight),
    pairs.map(({ bias }) => bias),
  );
}

async function norm(loader: Loader, spec: DecoderSpec, names: TensorPair): Promise<NormWeights> {
  return {
    weight: await vector(loader, names.weight, spec.normOffset),
    bias: names.bias === undefined ? undefined : await vector(loader, names.bias),
  };
}

async function optionalNorm(loader: Loader, spec: DecoderSpec, names: TensorPair | undefined): Promise<NormWeights | undefined> {
  return names === undefined ? undefined : norm(loader, spec, names);
}
