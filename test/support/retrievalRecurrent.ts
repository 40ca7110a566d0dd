/**
 * An RWKV-7 (arXiv 2503.14456) of two layers whose weights are set by hand, so that it remembers for ever what stands between two marks: behind
 * two tokens that stood behind each other there, it says what followed them. All else leaves its memory as it is, so that its size and what
 * it holds do not depend on how much is read.
 *
 * Layer 0 keeps a switch in one cell of its state, which the marks set to +1 and -1, and copies the code of the token before. In layer 1 the
 * switch decides whether the delta rule writes: key is the two tokens in front, value the token itself, and nothing decays. The residual
 * stream has a block of one head's width for the token with its flags, and one for the token before, to which layer 1 adds what it found, eight
 * times as long. Every block sums to zero, so that LayerNorms only scale.
 */
import type { Rwkv7Spec, WeightStore } from "../../engine/api.ts";
import { parseSpec } from "../../engine/models/spec.ts";
import { tensorShapes } from "../../engine/models/weights.ts";
import { MIXES, outerNames, rwkv7Names, type LowRankNames } from "../../engine/recurrent/weights.ts";
import { storeOf } from "./goldenModels.ts";
import type { TokenCodes } from "./tokenCodes.ts";

/** Width of a head and of a block of the stream. */
const P = 64;
/** Channels of a code; the others of the first block hold flags. */
export const MEMORY_CODE_WIDTH = 52;
/** Each flag has a second channel of the opposite sign. */
const FLAG = { always: 52, opens: 54, isMark: 56, isOpen: 58 } as const;
/** Sigmoids of plus and minus this are 1 and 0 in f32. */
const CERTAIN = 50;

export interface MemoryModel {
  spec: Rwkv7Spec;
  weights: WeightStore;
  /** Tokens between which it remembers. */
  opens: number;
  closes: number;
}

/** `codes` has a row of MEMORY_CODE_WIDTH for every token of the vocabulary and two more, the marks, which come behind it. */
export function memoryModel(codes: TokenCodes, vocabSize: number): MemoryModel {
  const spec = parseSpec({
    ...{ model_type: "rwkv7", vocab_size: vocabSize + 2, hidden_size: 2 * P, num_hidden_layers: 2, head_dim: P },
    ...{ intermediate_size: 4, norm_eps: 1e-9 },
    ...{ decay_low_rank_dim: 4, gate_low_rank_dim: 4, a_low_rank_dim: 4, v_low_rank_dim: 4 },
  });
  if (spec.kind !== "rwkv7") throw new Error(`rwkv7 became a ${spec.kind}`);
  const E = spec.hiddenSize;
  const tensors = new Map(
    [...tensorShapes(spec)].map(([name, shape]) => [
      name,
      { shape, values: new Float64Array(shape.reduce((product, size) => product * size, 1)) },
    ]),
  );
  const valuesOf = (name: string): Float64Array => tensors.get(name)?.values ?? new Float64Array(0);
  const set = (name: string, row: number, column: number, value: number): void => {
    const { shape, values } = tensors.get(name) ?? { shape: [], values: [] };
    values[row * (shape[1] ?? 1) + column] = value;
  };
  const setFlag = (name: string, row: number, flag: number, value: number): void => {
    set(name, row, flag, value);
    set(name, row, flag + 1, -value);
  };
  const [opens, closes] = [vocabSize, vocabSize + 1];
  const { embedding, finalNorm, head } = outerNames(spec);
  for (let token = 0; token < spec.vocabSize; token++) {
    for (const [i, value] of codes.code(token).entries()) {
      set(embedding, token, i, value);
      set(head, token, P + i, value);
    }
    setFlag(embedding, token, FLAG.always, 1);
    if (token === opens || token === closes) setFlag(embedding, token, FLAG.isMark, 1);
    if (token === opens || token === closes) setFlag(embedding, token, FLAG.opens, token === opens ? 1 : -1);
  }
  /** A norm that leaves rows of this length as they are. */
  const keepLength = ({ weight }: { weight: string }, squares: number): void => {
    valuesOf(weight).fill(Math.sqrt(squares / E));
  };
  const constantRate = (map: LowRankNames, value: number, first = 0, end = E): void => {
    if (map.up.bias !== undefined) valuesOf(map.up.bias).fill(value, first, end);
  };
  for (const layer of [0, 1]) {
    const names = rwkv7Names(layer);
    for (const mix of MIXES) valuesOf(names.mix(mix)).fill(0);
    constantRate(names.decay, -CERTAIN);
    constantRate(names.rate, -CERTAIN);
    if (names.valueMix !== undefined) constantRate(names.valueMix, -CERTAIN);
    valuesOf(names.removalKey).fill(1);
    valuesOf(names.keyRate).fill(1);
    valuesOf(names.headNorm.weight).fill(1);
    // Half of it everywhere, behind the sigmoid of nothing.
    for (let row = 0; row < E; row++) set(names.gate.up.weight, row, 0, 2);
    keepLength(names.mlpNorm, 1);
  }
  setSwitch();
  setMemory();
  keepLength(finalNorm, 1);
  return { spec, weights: storeOf(tensors), opens, closes };

  /** Layer 0: the switch in head 0, the token before in head 1. */
  function setSwitch(): void {
    const names = rwkv7Names(0);
    if (names.embeddingNorm !== undefined) keepLength(names.embeddingNorm, 3);
    keepLength(names.attentionNorm, 3);
    set(names.key, 0, FLAG.always, 1);
    set(names.receptance, 0, FLAG.always, 1);
    set(names.value, 0, FLAG.opens, 1);
    set(names.rate.down, 0, FLAG.isMark, 4 * CERTAIN);
    for (let row = 0; row < P; row++) set(names.rate.up.weight, row, 0, 1);
    // A head's norm makes one cell among zeros sqrt(P - 1) of its sign.
    const out = 1 / Math.sqrt(P - 1);
    set(names.output, FLAG.isOpen, 0, out);
    set(names.output, FLAG.isOpen + 1, 0, -out);
    // Head 1 gives the value of its own token alone: receptance and key are at right angles, and the bonus is what they have in common.
    for (const [i, sign] of [1, -1].entries()) {
      set(names.receptance, P + i, FLAG.always, 1);
      set(names.key, P + i, FLAG.always, sign);
      set(names.bonus, 1, i, sign / 2);
    }
    valuesOf(names.keyRate).fill(0, P, 2 * P);
    constantRate(names.decay, CERTAIN, P, 2 * P);
    valuesOf(names.mix("v")).fill(1, 0, MEMORY_CODE_WIDTH);
    for (let i = 0; i < MEMORY_CODE_WIDTH; i++) {
      set(names.value, P + i, i, 1);
      set(names.output, P + i, P + i, 1);
    }
  }

  /** Layer 1: head 0 remembers. */
  function setMemory(): void {
    const names = rwkv7Names(1);
    keepLength(names.attentionNorm, 6);
    valuesOf(names.mix("k")).fill(1);
    for (let i = 0; i < MEMORY_CODE_WIDTH; i++) {
      // The token two before takes other channels, so that the order of the two counts.
      const turned = (i + P / 2) % P;
      for (const name of [names.key, names.receptance]) {
        set(name, i, i, 1);
        set(name, turned, P + i, 1);
      }
      set(names.value, i, i, 1);
      set(names.output, P + i, i, 1);
    }
    set(names.rate.down, 0, FLAG.isOpen, 4 * CERTAIN);
    for (let row = 0; row < P; row++) set(names.rate.up.weight, row, 0, 1);
  }
}
