/**
 * Linear layers whose weights are small integers with a scale and a zero point per group of inputs: the packings of AWQ, GPTQ and
 * onnxruntime's MatMulNBits, read as w[o][i] = (code[o][i] - zero[g][o]) * scale[g][o] with g the group of input i, and turned into
 * rows of our affine blocks or of f32.
 * Sources: AutoAWQ's gemm packing; GPTQModel's torch kernel; the operator's definition in onnxruntime's ContribOperators.md.
 */
import type { TensorFormat } from "../api.ts";
import { LAYOUTS } from "./layouts.ts";

/** Inputs that are unpacked at a time: a block of the affine formats. */
const BLOCK = 32;

export interface GroupedCodes {
  readonly outputs: number;
  readonly inputs: number;
  readonly bits: 4 | 8;
  /** Codes of inputs [input, input + 32), or as many as there are, of outputs [start, end): into codes[32 (o - start) + i]. */
  codes(input: number, start: number, end: number, codes: Uint8Array): void;
  groupOf(input: number): number;
  /** Where scale and zero point of group g and output o lie: groupStride * g + outputStride * o. */
  readonly groupStride: number;
  readonly outputStride: number;
  readonly scales: ArrayLike<number>;
  readonly zeros: ArrayLike<number>;
}

/** What AWQ ("gemm") and GPTQ store for one layer; `qweight` and `qzeros` hold 32-bit words. */
export interface PackedLayer {
  outputs: number;
  inputs: number;
  qweight: Int32Array;
  qzeros: Int32Array;
  /** [groups, outputs] */
  scales: ArrayLike<number>;
  groupSize: number;
}

/** Place in its word of each of eight consecutive outputs: AWQ packs them in the order 0 2 4 6 1 3 5 7. */
const AWQ_PLACES = [0, 4, 1, 5, 2, 6, 3, 7];

/** AWQ, version gemm, 4 bits: qweight [inputs, outputs / 8], qzeros [groups, outputs / 8]. */
export function awqCodes({ outputs, inputs, qweight, qzeros, scales, groupSize }: PackedLayer): GroupedCodes {
  const words = outputs / 8;
  const nibble = (packed: Int32Array, row: number, output: number): number =>
    (packed[row * words + (output >> 3)] >>> (4 * AWQ_PLACES[output & 7])) & 15;
  const groups = Math.ceil(inputs / groupSize);
  return {
    ...{ outputs, inputs, bits: 4, scales, groupStride: outputs, outputStride: 1 },
    zeros: Uint8Array.from({ length: groups * outputs }, (_, at) => nibble(qzeros, Math.floor(at / outputs), at % outputs)),
    groupOf: (input) => Math.floor(input / groupSize),
    codes(input, start, end, codes) {
      const count = Math.min(BLOCK, inputs - input);
      for (let output = start; output < end; output++) {
        const to = BLOCK * (output - start);
        for (let i = 0; i < count; i++) codes[to + i] = nibble(qweight, input + i, output);
      }
    },
  };
}

export interface GptqLayer extends PackedLayer {
  bits: 4 | 8;
  /** Group of every input where the file says (act-order permutes them). */
  groupIndex?: ArrayLike<number>;
  /** checkpoint_format gptq stores zero points less one, gptq_v2 as they are. */
  zerosLessOne: boolean;
}

/** GPTQ: qweight [inputs * bits / 32, outputs], qzeros [groups, outputs * bits / 32], both low bits first. */
export function gptqCodes(layer: GptqLayer): GroupedCodes {
  const { outputs, inputs, qweight, qzeros, scales, groupSize, groupIndex, bits } = layer;
  const perWord = 32 / bits;
  const mask = 2 ** bits - 1;
  const zeroWords = outputs / perWord;
  const groups = scales.length / outputs;
  const stored = (group: number, output: number): number =>
    (qzeros[group * zeroWords + Math.floor(output / perWord)] >>> (bits * (output % perWord))) & mask;
  return {
    ...{ outputs, inputs, bits, scales, groupStride: outputs, outputStride: 1 },
    zeros: Uint16Array.from(
      { length: groups * outputs },
      (_, at) => stored(Math.floor(at / outputs), at % outputs) + (layer.zerosLessOne ? 1 : 0),
    ),
    groupOf: groupIndex ? (input) => groupIndex[input] : (input) => Math.floor(input / groupSize),
    codes(input, start, end, codes) {
      const count = Math.min(BLOCK, inputs - input);
      for (let i = 0; i < count; i++) {
        const word = Math.floor((input + i) / perWord) * outputs;
        const shift = bits * ((input + i) % perWord);
        for (let output = start; output < end; output++) {
          codes[BLOCK * (output - start) + i] = (qweight[word + output] >>> shift) & mask;
        }
      }
    },
  };
}

/** MatMulNBits: attributes N, K, bits and block_size, and its initializers. */
export interface MatMulNBitsLayer {
  outputs: number;
  inputs: number;
  bits: 4 | 8;
  blockSize: number;
  /** [N, ceil(K / blockSize), blockSize * bits / 8], low bits first along K. */
  b: Uint8Array;
  /** [N, ceil(K / blockSize)] */
  scales: ArrayLike<number>;
  /** Packed: [N, ceil(blocks * bits / 8)], low bits first. Plain: [N, blocks] numbers of the type of the scales. Absent: 2^(bits - 1). */
  zeros?: { packed: Uint8Array } | { plain: ArrayLike<number> };
}

export function matMulNBitsCodes({ outputs, inputs, bits, blockSize, b, scales, zeros }: MatMulNBitsLayer): GroupedCodes {
  const groups = Math.ceil(inputs / blockSize);
  const perByte = 8 / bits;
  const mask = 2 ** bits - 1;
  const code = (bytes: Uint8Array, rowBytes: number, row: number, at: number): number =>
    (bytes[row * rowBytes + Math.floor(at / perByte)] >>> (bits * (at % perByte))) & mask;
  const zeroBytes = Math.ceil(groups / perByte);
  const zeroOf = (output: number, group: number): number => {
    if (zeros === undefined) return 2 ** (bits - 1);
    return "plain" in zeros ? zeros.plain[output * groups + group] : code(zeros.packed, zeroBytes, output, group);
  };
  return {
    ...{ outputs, inputs, bits, scales, groupStride: 1, outputStride: groups },
    zeros: Float64Array.from({ length: outputs * groups }, (_, at) => zeroOf(Math.floor(at / groups), at % groups)),
    groupOf: (input) => Math.floor(input / blockSize),
    codes(input, start, end, codes) {
      const count = Math.min(BLOCK, inputs - input);
      const rowBytes = (groups * blockSize) / perByte;
      for (let output = start; output < end; output++) {
        const to = BLOCK * (output - start);
        for (let i = 0; i < count; i++) codes[to + i] = code(b, rowBytes, output, input + i);
      }
    },
  };
}

/** How the rows can be had: in affine blocks where all 32 inputs of every block share a group, else as f32. */
export function rowFormat({
  inputs,
  bits,
  groupOf,
}: Pick<GroupedCodes, "inputs" | "bits" | "groupOf">): "affine4" | "affine8" | "f32" {
  if (inputs % BLOCK !== 0) return "f32";
  for (let input = 0; input < inputs; input++) {
    if (groupOf(input) !== groupOf(input - (input % BLOCK))) return "f32";
  }
  return bits === 4 ? "affine4" : "affine8";
}

/** Rows (outputs) [start, end) as affine blocks; `rowFormat` must have said so. */
export function affineRows(layer: GroupedCodes, start: number, end: number): Uint8Array<ArrayBuffer> {
  const format: TensorFormat = layer.bits === 4 ? "affine4" : "affine8";
  const rowBytes = (layer.inputs / BLOCK) * LAYOUTS[format].bytes;
  const bytes = new Uint8Array((end - start) * rowBytes);
  const view = new DataView(bytes.buffer);
  const codes = new Uint8Array(BLOCK * (end - start));
  for (let input = 0; input < layer.inputs; input += BLOCK) {
    layer.codes(input, start, end, codes);
    const group = layer.groupStride * layer.groupOf(input);
    for (let row = 0; row < end - start; row++) {
      const at = row * rowBytes + (input / BLOCK) * LAYOUTS[format].bytes;
      const place = group + layer.outputStride * (start + row);
      const scale = Math.fround(layer.scales[place]);
      view.setFloat32(at, scale, true);
      view.setFloat32(at + 4, -layer.zeros[place] * scale, true);
      const from = BLOCK * row;
      if (layer.bits === 4) {
        for (let i = 0; i < 16; i++) bytes[at + 8 + i] = codes[from + i] | (codes[from + 16 + i] << 4);
      } else bytes.set(codes.subarray(from, from + BLOCK), at + 8);
    }
  }
  return bytes;
}

/** Rows (outputs) [start, end) as f32, each value rounded once. */
export function valueRows(layer: GroupedCodes, start: number, end: number): Float32Array<ArrayBuffer> {
  const { inputs, groupStride, outputStride, scales, zeros } = layer;
  const values = new Float32Array((end - start) * inputs);
  const codes = new Uint8Array(BLOCK * (end - start));
  for (let input = 0; input < inputs; input += BLOCK) {
    layer.codes(input, start, end, codes);
    const count = Math.min(BLOCK, inputs - input);
    const groups = Array.from({ length: count }, (_, i) => groupStride * layer.groupOf(input + i));
    for (let row = 0; row < end - start; row++) {
      for (let i = 0; i < count; i++) {
        const place = groups[i] + outputStride * (start + row);
        values[row * inputs + input + i] = (codes[BLOCK * row + i] - zeros[place]) * scales[place];
      }
    }
  }
  return values;
}
