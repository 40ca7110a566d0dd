/** Linear layers of small integers, packed by plain loops, with the values they stand for. */
import { seeded } from "./random.ts";

export interface PlainLayer {
  outputs: number;
  inputs: number;
  groups: number;
  bits: number;
  code: (output: number, input: number) => number;
  /** 1 to 2^bits, so that GPTQ can store it less one. */
  zero: (group: number, output: number) => number;
  /** [groups, outputs], each a number that f16 has. */
  scales: Float32Array<ArrayBuffer>;
  /** [outputs, inputs], with the layer's own zero points unless others are given. */
  values: (groupOf: (input: number) => number, zeroOf?: (group: number, output: number) => number) => Float32Array<ArrayBuffer>;
}

export function randomLayer(outputs: number, inputs: number, groups: number, bits: number): PlainLayer {
  const random = seeded(outputs * 1000 + inputs * bits);
  const whole = (below: number): number => Math.floor(random() * below);
  const codes = Uint8Array.from({ length: outputs * inputs }, () => whole(2 ** bits));
  const zeros = Uint16Array.from({ length: groups * outputs }, () => 1 + whole(2 ** bits));
  const scales = Float32Array.from({ length: groups * outputs }, () => (1 + whole(1024)) / 4096);
  const code = (output: number, input: number): number => codes[output * inputs + input] ?? 0;
  const zero = (group: number, output: number): number => zeros[group * outputs + output] ?? 0;
  return {
    ...{ outputs, inputs, groups, bits, code, zero, scales },
    values: (groupOf, zeroOf = zero) =>
      Float32Array.from({ length: outputs * inputs }, (_, at) => {
        const [output, input] = [Math.floor(at / inputs), at % inputs];
        const group = groupOf(input);
        return (code(output, input) - zeroOf(group, output)) * (scales[group * outputs + output] ?? 0);
      }),
  };
}

/** Codes in 32-bit words, low bits first: several rows of a column in one word, or several columns of a row. */
export function packWords(
  rows: number,
  columns: number,
  bits: number,
  along: "rows" | "columns",
  code: (row: number, column: number) => number,
): Int32Array<ArrayBuffer> {
  const perWord = 32 / bits;
  const words = new Int32Array((rows * columns) / perWord);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [at, place] =
        along === "rows"
          ? [Math.floor(row / perWord) * columns + column, row % perWord]
          : [(row * columns) / perWord + Math.floor(column / perWord), column % perWord];
      words[at] |= code(row, column) << (bits * place);
    }
  }
  return words;
}

/** qweight and qzeros of GPTQ; zero points less one, or as they are for gptq_v2. */
export function gptqWords(
  layer: PlainLayer,
  zerosLessOne = true,
): { qweight: Int32Array<ArrayBuffer>; qzeros: Int32Array<ArrayBuffer> } {
  const { inputs, outputs, groups, bits, code, zero } = layer;
  const mask = 2 ** bits - 1;
  return {
    qweight: packWords(inputs, outputs, bits, "rows", (input, output) => code(output, input)),
    qzeros: packWords(groups, outputs, bits, "columns", (group, output) => (zero(group, output) - (zerosLessOne ? 1 : 0)) & mask),
  };
}

/** Zero point of AWQ, which has four bits. */
export function awqZero(layer: PlainLayer): (group: number, output: number) => number {
  return (group, output) => layer.zero(group, output) & 15;
}

/** qweight and qzeros of AWQ gemm: eight outputs of one input in a word, in the order 0 2 4 6 1 3 5 7. */
export function awqWords(layer: PlainLayer): { qweight: Int32Array<ArrayBuffer>; qzeros: Int32Array<ArrayBuffer> } {
  const { inputs, outputs, groups, code } = layer;
  const pack = (rows: number, codeOf: (row: number, output: number) => number): Int32Array<ArrayBuffer> =>
    Int32Array.from({ length: (rows * outputs) / 8 }, (_, at) => {
      const [row, word] = [Math.floor(at / (outputs / 8)), at % (outputs / 8)];
      return [0, 2, 4, 6, 1, 3, 5, 7].reduce(
        (bits, channel, place) => bits | (codeOf(row, 8 * word + channel) << (4 * place)),
        0,
      );
    });
  return { qweight: pack(inputs, (input, output) => code(output, input)), qzeros: pack(groups, awqZero(layer)) };
}
