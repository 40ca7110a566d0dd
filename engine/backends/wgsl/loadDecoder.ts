/** A transformer's weights onto the device, layer by layer. */
import type { DecoderSpec, WeightStore } from "../../api.ts";
import type { EngineDevice } from "../../gpu/device.ts";
import { takesNorms, type Matrix, type MatrixUse } from "../../kernels/linear.ts";
import { tokenFusions, type NormWeights } from "../../kernels/ops.ts";
import type { MatmulVariants } from "../../kernels/variants.ts";
import type { DecoderWeights, LayerWeights } from "../../models/decoder.ts";
import {
  EMBEDDING,
  embeddingNormNames,
  finalNormNames,
  headName,
  layerNames,
  tensorShapes,
  type TensorPair,
} from "../../models/weights.ts";
import { openWeightLoader, type LoadOptions, type WeightLoader } from "./loadWeights.ts";

export interface LoadedDecoder {
  weights: DecoderWeights;
  /** Relative RMS error of what was quantised on load; undefined where nothing was. */
  quantizationError: number | undefined;
  deviceBytes: number;
}

/** Reads and uploads the whole model. Throws `aborted`, `limit-exceeded` when the device runs out, or what the store throws. */
export async function loadDecoder(
  spec: DecoderSpec,
  weights: WeightStore,
  gpu: EngineDevice,
  options: LoadOptions,
): Promise<LoadedDecoder> {
  const loader = openWeightLoader(gpu, weights, tensorShapes(spec).keys(), options);
  const embedding = await loader.matrix([EMBEDDING]);
  const embeddingNorm = await optionalNorm(loader, spec, embeddingNormNames(spec));
  const layers: LayerWeights[] = [];
  for (let layer = 0; layer < spec.layerCount; layer++) layers.push(await loadLayer(loader, spec, layer));
  const finalNorm = await norm(loader, spec, finalNormNames(spec));
  const head = spec.tiedEmbeddings ? embedding : await loader.matrix([headName(spec)]);
  return {
    weights: { embedding, embeddingNorm, layers, finalNorm, head },
    quantizationError: loader.quantizationError(),
    deviceBytes: loader.deviceBytes(),
  };
}

/** What the forward pass does with each matrix on a device with these variants. */
export function matrixUses(
  spec: DecoderSpec,
  { embedding, layers, head }: DecoderWeights,
  variants: MatmulVariants,
): MatrixUse[] {
  const { norm, gate } = tokenFusions(spec, takesNorms(variants));
  const inLayers = layers.flatMap(({ qkv, output, gateUp, down }): MatrixUse[] => [
    { matrix: qkv, norm },
    { matrix: output },
    { matrix: gateUp, norm, gate },
    { matrix: down },
  ]);
  return [{ matrix: embedding, table: true }, ...inLayers, { matrix: head }];
}

async function loadLayer(loader: WeightLoader, spec: DecoderSpec, layer: number): Promise<LayerWeights> {
  const names = layerNames(spec, layer);
  const { queryNorm, keyNorm, keyShift } = names;
  return {
    attentionNorm: await norm(loader, spec, names.attentionNorm),
    qkv: await joined(loader, [names.query, names.key, names.value]),
    keyShift: keyShift === undefined ? undefined : await loader.vector(keyShift),
    headNorms:
      queryNorm === undefined || keyNorm === undefined
        ? undefined
        : { query: await loader.vector(queryNorm, spec.normOffset), key: await loader.vector(keyNorm, spec.normOffset) },
    output: await joined(loader, [names.output]),
    attentionPostNorm: await optionalNorm(loader, spec, names.attentionPostNorm),
    mlpNorm: await norm(loader, spec, names.mlpNorm),
    gateUp: await joined(loader, names.gate === undefined ? [names.up] : [names.gate, names.up]),
    down: await joined(loader, [names.down]),
    mlpPostNorm: await optionalNorm(loader, spec, names.mlpPostNorm),
  };
}

/** Projections behind each other as one matrix. */
function joined(loader: WeightLoader, pairs: readonly TensorPair[]): Promise<Matrix> {
  return loader.matrix(
    pairs.map(({ weight }) => weight),
    pairs.map(({ bias }) => bias),
  );
}

async function norm(loader: WeightLoader, spec: DecoderSpec, names: TensorPair): Promise<NormWeights> {
  return {
    weight: await loader.vector(names.weight, spec.normOffset),
    bias: names.bias === undefined ? undefined : await loader.vector(names.bias),
  };
}

async function optionalNorm(
  loader: WeightLoader,
  spec: DecoderSpec,
  names: TensorPair | undefined,
): Promise<NormWeights | undefined> {
  return names === undefined ? undefined : norm(loader, spec, names);
}
