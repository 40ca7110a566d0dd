/** What a model's weights take where they are kept, and what of them one token reads. */
import type { ModelSpec, TensorFormat, WeightFormat, WeightStore } from "../api.ts";
import { bytesOf } from "../formats/layouts.ts";
import { storedFormat } from "../formats/stored.ts";
import { matrixBytes, matrixFormatOf, type MatrixFormat } from "../kernels/matrixFormats.ts";
import { EMBEDDING, headName, layerNames, parameterCount, tensorShapes } from "../models/weights.ts";
import { outerNames } from "../recurrent/weights.ts";

export interface WeightBytes {
  bytes: number;
  /** Of those, what a decoded token reads: all but the table that only looks rows up. */
  readBytes: number;
}

/** Format of each tensor in its file, by the engine's names. */
export type FormatOf = (name: string) => TensorFormat;

/** As if every number took `bits` bits, scales included: 4.5 is Q4_0, 8.5 is Q8_0. */
export function weightsByBits(spec: ModelSpec, bits: number): WeightBytes {
  const bytes = (parameterCount(spec) * bits) / 8;
  const table = spec.tiedEmbeddings ? 0 : (spec.vocabSize * spec.hiddenSize * bits) / 8;
  return { bytes, readBytes: bytes - table };
}

/** Bytes of the weights as they are stored: in the file's format or the chosen one, what is no matrix in f32. */
export function weightsAsStored(spec: ModelSpec, weights: WeightStore, format: WeightFormat): number {
  let bytes = 0;
  for (const [name, shape] of tensorShapes(spec)) {
    const numbers = shape.reduce((product, size) => product * size, 1);
    bytes += bytesOf(storedFormat(name, shape, weights.format(name), format), numbers);
  }
  return bytes;
}

/** In buffers of a graphics device: matrices in panels of 32 rows, the rest in f32. */
export function weightsOnDevice(spec: ModelSpec, formatOf: FormatOf, kept: WeightFormat): WeightBytes {
  const shapes = tensorShapes(spec);
  const shapeOf = (name: string): readonly number[] => shapes.get(name) ?? [];
  let bytes = 0;
  let tableBytes = 0;
  for (const names of matricesOf(spec)) {
    let size = 0;
    for (const { format, rows } of runsOf(names)) {
      const { codes, scales } = matrixBytes(format, rows, shapeOf(names[0] ?? "")[1] ?? 0);
      size += codes + scales;
    }
    bytes += size;
    if (names[0] === tableName(spec) && !spec.tiedEmbeddings) tableBytes = size;
  }
  const inMatrices = new Set(matricesOf(spec).flat());
  for (const [name, shape] of shapes) if (!inMatrices.has(name)) bytes += 4 * product(shape);
  return { bytes, readBytes: bytes - tableBytes };

  /** Parts behind each other in one format, which are padded to whole panels together. */
  function runsOf(names: readonly string[]): { format: MatrixFormat; rows: number }[] {
    const runs: { format: MatrixFormat; rows: number }[] = [];
    for (const name of names) {
      const shape = shapeOf(name);
      const format = matrixFormatOf[storedFormat(name, shape, formatOf(name), kept)];
      const last = runs.at(-1);
      if (last?.format === format) last.rows += shape[0] ?? 0;
      else runs.push({ format, rows: shape[0] ?? 0 });
    }
    return runs;
  }
}

/** In WebAssembly, which computes with f32, Q8_0 and Q4_0; the table that only looks rows up stays outside, in JavaScript's memory. */
export function weightsInWasm(spec: ModelSpec, formatOf: FormatOf, kept: WeightFormat): WeightBytes & { wasmBytes: number } {
  let bytes = 0;
  let tableBytes = 0;
  for (const [name, shape] of tensorShapes(spec)) {
    const stored = storedFormat(name, shape, formatOf(name), kept);
    const isBlocks = stored === "q8_0" || stored === "q4_0";
    // Scales of blocks are f32 there, not f16.
    const numbers = product(shape);
    const size = isBlocks ? bytesOf(stored, numbers) + numbers / 16 : 4 * numbers;
    bytes += size;
    if (name === tableName(spec) && !spec.tiedEmbeddings) tableBytes = size;
  }
  return { bytes, readBytes: bytes - tableBytes, wasmBytes: bytes - tableBytes };
}

/** Numbers in matrices of the layers that every token is multiplied by; embedding and head are not among them. */
export function layerMatrixNumbers(spec: ModelSpec): number {
  const shapes = tensorShapes(spec);
  const outside = new Set([tableName(spec), headName(spec)]);
  const names = matricesOf(spec).flat();
  return names.reduce((sum, name) => sum + (outside.has(name) ? 0 : product(shapes.get(name) ?? [])), 0);
}

/** Tensors that are multiplied by or looked up in, those of one product together. */
function matricesOf(spec: ModelSpec): readonly (readonly string[])[] {
  const head = spec.tiedEmbeddings ? [] : [[headName(spec)]];
  if (spec.kind !== "decoder") {
    const shapes = [...tensorShapes(spec)];
    return shapes.filter(([name, { length }]) => length === 2 && name.endsWith(".weight")).map(([name]) => [name]);
  }
  const layers = Array.from({ length: spec.layerCount }, (_, layer) => {
    const { query, key, value, output, gate, up, down } = layerNames(spec, layer);
    const wide = gate === undefined ? [up.weight] : [gate.weight, up.weight];
    return [[query.weight, key.weight, value.weight], [output.weight], wide, [down.weight]];
  });
  return [[EMBEDDING], ...layers.flat(), ...head];
}

function tableName(spec: ModelSpec): string {
  return spec.kind === "decoder" ? EMBEDDING : outerNames(spec).embedding;
}

function product(shape: readonly number[]): number {
  return shape.reduce((all, size) => all * size, 1);
}
