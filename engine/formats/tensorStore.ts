/** Tensors that lie somewhere in files, as a `WeightStore`: rows are range-read when they are asked for. */
import type { ByteSource, TensorFormat, WeightStore } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { decoderOf } from "./decode.ts";
import { bytesOf, LAYOUTS } from "./layouts.ts";

/** A file is read in pieces of at most this, so that no second copy of a large tensor exists. */
export const PIECE_BYTES = 64 * 2 ** 20;

/** One tensor in one file. */
export interface PlacedTensor {
  readonly source: ByteSource;
  readonly shape: readonly number[];
  /** As the file names it where the engine cannot read it. */
  readonly format: TensorFormat | { readonly unknown: string };
  /** Absolute in the file. */
  readonly begin: number;
}

/** A store that can say what it holds. */
export interface NamedStore extends WeightStore {
  names(): Iterable<string>;
  /** The whole tensor by default. */
  readBytes(name: string, rowStart?: number, rowEnd?: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
}

/** The tensors as a store; what is asked of it throws `weights-missing`, `bad-weights`, `bad-argument` and `aborted`. */
export function placedStore(tensors: ReadonlyMap<string, PlacedTensor>): NamedStore {
  const tensorOf = (name: string): PlacedTensor => tensors.get(name) ?? missingTensor(name);
  return {
    names: () => tensors.keys(),
    has: (name) => tensors.has(name),
    shape: (name) => tensorOf(name).shape,
    format: (name) => formatOf(name, tensorOf(name)),
    readRows: async (name, rowStart, rowEnd, signal) => {
      const range = rangeOf(name, tensorOf(name), rowStart, rowEnd);
      const values = new Float32Array(range.numbers);
      const { numbers: blockNumbers, bytes: blockBytes } = LAYOUTS[range.format];
      const decode = decoderOf(range.format);
      for await (const { at, bytes } of pieces(range, signal)) {
        const from = (at / blockBytes) * blockNumbers;
        decode(bytes, values.subarray(from, from + (bytes.length / blockBytes) * blockNumbers));
      }
      return values;
    },
    readBytes: async (name, rowStart, rowEnd, signal) => {
      const range = rangeOf(name, tensorOf(name), rowStart, rowEnd);
      if (range.bytes <= pieceBytes(range)) {
        throwIfAborted(signal);
        return range.source.read(range.begin, range.bytes, signal);
      }
      const joined = new Uint8Array(range.bytes);
      for await (const { at, bytes } of pieces(range, signal)) joined.set(bytes, at);
      return joined;
    },
  };
}

/** Throws `weights-missing` for a tensor that no file has. */
export function missingTensor(name: string): never {
  throw new EngineError("weights-missing", `the weights have no tensor ${name}`, "download the model again, with all its files", {
    name,
  });
}

/** Rows [rowStart, rowEnd) of a tensor of this shape, the whole tensor by default; throws `bad-argument` for others. */
export function checkedRows(
  name: string,
  shape: readonly number[],
  rowStart = 0,
  rowEnd = shape.at(0) ?? 1,
): { rowStart: number; rowEnd: number; rowNumbers: number } {
  const rows = shape.at(0) ?? 1;
  if (Number.isInteger(rowStart) && Number.isInteger(rowEnd) && rowStart >= 0 && rowStart <= rowEnd && rowEnd <= rows) {
    return { rowStart, rowEnd, rowNumbers: shape.slice(1).reduce((product, size) => product * size, 1) };
  }
  const message = `rows ${rowStart} to ${rowEnd} of tensor ${name}, which has ${rows}`;
  throw new EngineError("bad-argument", message, "ask for rows that exist", { name });
}

function formatOf(name: string, { format }: PlacedTensor): TensorFormat {
  if (typeof format === "string") return format;
  const message = `tensor ${name} is ${format.unknown}, which the engine does not read`;
  throw new EngineError("bad-weights", message, "choose the F16, BF16 or Q8_0 version of the model", {
    name,
    format: format.unknown,
  });
}

interface ByteRange {
  source: ByteSource;
  format: TensorFormat;
  begin: number;
  bytes: number;
  numbers: number;
}

function rangeOf(name: string, tensor: PlacedTensor, start: number | undefined, end: number | undefined): ByteRange {
  const format = formatOf(name, tensor);
  const { rowStart, rowEnd, rowNumbers } = checkedRows(name, tensor.shape, start, end);
  const [before, numbers] = [rowStart * rowNumbers, (rowEnd - rowStart) * rowNumbers];
  const block = LAYOUTS[format].numbers;
  if (before % block !== 0 || numbers % block !== 0) {
    // Only a vector in blocks has rows that are no whole blocks.
    throw new EngineError("bad-argument", `part of vector ${name}, which is in blocks of ${block}`, "read the whole vector", {
      name,
    });
  }
  return {
    source: tensor.source,
    format,
    begin: tensor.begin + bytesOf(format, before),
    bytes: bytesOf(format, numbers),
    numbers,
  };
}

/** As many whole blocks as a piece may hold. */
function pieceBytes({ format }: ByteRange): number {
  return PIECE_BYTES - (PIECE_BYTES % LAYOUTS[format].bytes);
}

async function* pieces(range: ByteRange, signal: AbortSignal | undefined): AsyncGenerator<{ at: number; bytes: Uint8Array }> {
  for (let at = 0; at < range.bytes;) {
    throwIfAborted(signal);
    const length = Math.min(range.bytes - at, pieceBytes(range));
    yield { at, bytes: await range.source.read(range.begin + at, length, signal) };
    at += length;
  }
}
