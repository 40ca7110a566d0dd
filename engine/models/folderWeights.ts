import type { ModelFiles, ModelSpec, WeightStore } from "../api.ts";
import { EngineError } from "../errors.ts";
import { openOnnx } from "../formats/onnxFile.ts";
import { openSafetensors } from "../formats/safetensors.ts";
import { withRanksOf } from "../recurrent/checkpoint.ts";
import { checkpointView } from "./checkpoint.ts";
import { onnxWeights } from "./onnxWeights.ts";
import { unquantizedView } from "./quantizedCheckpoint.ts";

const ONNX_FILE = "model.onnx";

/**
 * The weights beside a config.json: safetensors, quantised or not, else the ONNX model of onnxruntime-genai. The latter may have an
 * output head of its own where config.json says that there is none, so the spec comes back. Throws what opening them throws.
 */
export async function openFolderWeights(
  config: unknown,
  spec: ModelSpec,
  files: ModelFiles,
  signal: AbortSignal | undefined,
): Promise<{ spec: ModelSpec; weights: WeightStore }> {
  try {
    const store = await unquantizedView(config, await openSafetensors(files, signal), signal);
    const ranked = spec.kind === "rwkv7" ? withRanksOf(spec, store) : spec;
    return { spec: ranked, weights: checkpointView(ranked, store) };
  } catch (error) {
    if (!EngineError.is(error, "not-found") || (await files.open(ONNX_FILE)) === undefined) throw error;
  }
  const file = await openOnnx(files, ONNX_FILE, signal);
  if (spec.kind !== "decoder") {
    throw new EngineError("unsupported-model", `${spec.modelType} is not read from ONNX files`, "choose its safetensors version");
  }
  const { weights, tiedEmbeddings } = onnxWeights(spec, file);
  return { spec: { ...spec, tiedEmbeddings }, weights };
}
