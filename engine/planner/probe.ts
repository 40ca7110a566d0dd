/**
 * Small models with the shapes of a real one, to be run on a device for its rates: one has the layer as it is, the other only what costs
 * the same in all sizes, and attention. Their weights are made up.
 */
import type { ModelSpec, TensorFormat, WeightFormat, WeightStore } from "../api.ts";
import { EngineError } from "../errors.ts";
import { encodeF16 } from "../formats/floats.ts";
import { bytesOf } from "../formats/layouts.ts";
import { storedFormat } from "../formats/stored.ts";
import { tensorShapes } from "../models/weights.ts";
import type { FormatOf } from "./weightBytes.ts";

/** Small enough that a head of it costs nothing beside reading its logits back. */
export const NARROW_VOCABULARY = 64;
const NARROW_WIDTH = 32;
/** Numbers of the head in the probe of whole layers, at most. */
const HEAD_NUMBERS = 2 ** 21;

/** `layers` of the model's layers, as they are: one that sees all keys where there is one. The head is cut to what its rate needs. */
export function layerProbe(spec: ModelSpec, layers: number): ModelSpec {
  const vocabSize = Math.max(NARROW_VOCABULARY, Math.min(spec.vocabSize, Math.floor(HEAD_NUMBERS / spec.hiddenSize)));
  const own = { layerCount: layers, vocabSize };
  if (spec.kind !== "decoder") return { ...spec, ...own };
  return { ...spec, ...own, layers: wholeLayers(spec, layers) };
}

/** Layers whose matrices hold next to nothing. Heads stay as they are, of recurrent models one is left. */
export function narrowProbe(spec: ModelSpec, layers: number): ModelSpec {
  const own = { layerCount: layers, vocabSize: NARROW_VOCABULARY, hiddenSize: NARROW_WIDTH, tiedEmbeddings: true };
  switch (spec.kind) {
    case "decoder":
      return { ...spec, ...own, intermediateSize: NARROW_WIDTH, layers: wholeLayers(spec, layers) };
    case "mamba":
      return { ...spec, ...own, innerSize: NARROW_WIDTH, timeStepRank: 4 };
    case "mamba2":
      return { ...spec, ...own, headCount: spec.groupCount };
    case "rwkv7":
      return { ...spec, ...own, hiddenSize: spec.headDim, headCount: 1, intermediateSize: NARROW_WIDTH };
  }
}

function wholeLayers({ layers }: ModelSpec & { kind: "decoder" }, count: number) {
  const [example = layers[0]] = layers.filter(({ window }) => window === undefined);
  return Array.from({ length: count }, () => ({ ...example, window: undefined }));
}

/** Weights of a probe, in the formats that the model's own are kept in, or in f32. */
export function probeWeights(probe: ModelSpec, formatOf: FormatOf | undefined, kept: WeightFormat): WeightStore {
  const shapes = tensorShapes(probe);
  const shapeOf = (name: string): readonly number[] => {
    const shape = shapes.get(name);
    if (shape === undefined) throw new EngineError("weights-missing", `a probe has no tensor ${name}`, "report this");
    return shape;
  };
  const format = (name: string): TensorFormat =>
    formatOf === undefined ? "f32" : storedFormat(name, shapeOf(name), formatOf(name), kept);
  const numbers = (name: string, start = 0, end = shapeOf(name)[0] ?? 1): number =>
    (end - start) *
    shapeOf(name)
      .slice(1)
      .reduce((product, size) => product * size, 1);
  return {
    has: (name) => shapes.has(name),
    shape: shapeOf,
    format,
    readBytes: async (name, start, end) => filled(format(name), numbers(name, start, end)),
    readRows: async (name, start, end) => new Float32Array(numbers(name, start, end)).fill(VALUE),
  };
}

/** Large enough that no product of a few of them is a subnormal number, which some processors are slow with. */
const VALUE = 0.02;
/** Of blocks: scales of about 0.07, and codes near a third of the range. */
const BLOCK_BYTE = 0x2c;

function filled(format: TensorFormat, count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(bytesOf(format, count));
  const bits = new Uint32Array(Float32Array.of(VALUE).buffer)[0] ?? 0;
  switch (format) {
    case "f32":
      new Float32Array(bytes.buffer).fill(VALUE);
      break;
    case "f16":
      new Uint16Array(bytes.buffer).fill(encodeF16(VALUE));
      break;
    case "bf16":
      new Uint16Array(bytes.buffer).fill(bits >>> 16);
      break;
    default:
      bytes.fill(BLOCK_BYTE);
  }
  return bytes;
}
