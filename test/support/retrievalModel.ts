/**
 * A transformer of three layers whose weights are set by hand, so that it retrieves: behind two tokens that stood behind each other before, it
 * says what followed them then, however long ago, if it can still see it.
 *
 * The residual stream holds the token's code, the codes of the one before and of the one before that, what was found, and a constant. Layers 0
 * and 1 see two keys, and a rotation by one radian a token makes them take the earlier: they copy the code, then the copy. Layer 2 has
 * neither window nor rotation: its query is the last two tokens, a key is the two tokens in front of its own, the value its own. That is
 * the induction of arXiv 2209.11895 with two tokens of context.
 */
import type { DecoderSpec, WeightStore } from "../../engine/api.ts";
import { EMBEDDING, finalNormNames, headName, layerNames, tensorShapes } from "../../engine/models/weights.ts";
import { randomModel, storeOf } from "./goldenModels.ts";
import type { TokenCodes } from "./tokenCodes.ts";

/** Score of the right key over any other's: e to it is far more than the keys of any context. */
const MARGIN = 40;
/** Score at distance one over that at distance zero is this times 1 - cos(1). */
const SHARPNESS = 80;
const SLOT = { token: 0, before: 1, twoBefore: 2, found: 3 } as const;

/** `codes` has a row for every token of the vocabulary; what was found has the logit `certainty`, any other token at most 5/6 of it. */
export function retrievalModel(codes: TokenCodes, vocabSize: number, certainty = 1): { spec: DecoderSpec; weights: WeightStore } {
  const { width } = codes;
  const hiddenSize = 4 * width + 4;
  const constant = 4 * width;
  const copying = { window: 2, rotation: "main" } as const;
  const { spec } = randomModel({
    ...{ vocabSize, hiddenSize, intermediateSize: 4, headCount: 1, kvHeadCount: 1, headDim: 2 * width },
    ...{ layerCount: 3, layers: [copying, copying, { window: undefined, rotation: "none" }] },
    ...{ rotaryDim: 2, attentionScale: 1, normEps: 1e-9, maxPositionEmbeddings: 2 ** 24 },
  });
  const tensors = new Map(
    [...tensorShapes(spec)].map(([name, shape]) => [
      name,
      { shape, values: new Float64Array(shape.reduce((product, size) => product * size, 1)) },
    ]),
  );
  const set = (name: string, row: number, column: number, value: number): void => {
    const { shape, values } = tensors.get(name) ?? { shape: [], values: [] };
    values[row * (shape[1] ?? 1) + column] = value;
  };
  /** Channels of `from` go to rows or channels from `to` on. */
  const copy = (name: string, to: number, from: number, factor = 1): void => {
    for (let i = 0; i < width; i++) set(name, to + i, from + i, factor);
  };
  const slot = (name: keyof typeof SLOT): number => SLOT[name] * width;

  for (let token = 0; token < vocabSize; token++) {
    for (const [i, value] of codes.code(token).entries()) {
      set(EMBEDDING, token, slot("token") + i, value);
      set(headName(spec), token, slot("found") + i, certainty * value);
    }
    set(EMBEDDING, token, constant, 1);
  }
  for (const [layer, from, to] of [
    [0, "token", "before"],
    [1, "before", "twoBefore"],
  ] as const) {
    const names = layerNames(spec, layer);
    // The query is turned back by one token, so that the key before its own points the same way.
    set(names.query.weight, 0, constant, SHARPNESS * Math.cos(1));
    set(names.query.weight, 1, constant, -SHARPNESS * Math.sin(1));
    set(names.key.weight, 0, constant, 1);
    copy(names.value.weight, 0, slot(from));
    copy(names.output.weight, slot(to), 0);
  }
  const matching = layerNames(spec, 2);
  const sharpness = MARGIN / (1 - codes.closest);
  copy(matching.query.weight, 0, slot("token"), sharpness);
  copy(matching.query.weight, width, slot("before"), sharpness);
  copy(matching.key.weight, 0, slot("before"));
  copy(matching.key.weight, width, slot("twoBefore"));
  copy(matching.value.weight, 0, slot("token"));
  copy(matching.output.weight, slot("found"), 0);

  // The stream has a length that is known in every layer: a code and the constant, and a code more with each. Norms undo themselves.
  const norms = [...[0, 1, 2].map((layer) => layerNames(spec, layer).attentionNorm), finalNormNames(spec)];
  for (const [index, { weight }] of norms.entries()) {
    for (let i = 0; i < hiddenSize; i++) set(weight, i, 0, Math.sqrt((index + 2) / hiddenSize));
  }
  return { spec, weights: storeOf(tensors) };
}
