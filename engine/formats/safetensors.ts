/**
 * safetensors: u64 little-endian header length n, n bytes of JSON, then the tensors, row-major and without holes.
 * Entry: name -> {dtype, shape, data_offsets: [begin, end)} relative to the data.
 */
import type { ByteSource, ModelFiles, WeightStore } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { decodeBf16Bytes, decodeF16Bytes, decodeF32Bytes } from "./floats.ts";
import { isRecord, parseJson, shown } from "./json.ts";

const SINGLE_FILE = "model.safetensors";
const SHARD_INDEX = "model.safetensors.index.json";
const MAX_HEADER_BYTES = 100_000_000;
/** Weights cross into the engine in pieces of at most this, so that no second copy of a large tensor exists. */
const PIECE_BYTES = 64 * 2 ** 20;
const DAMAGED = "download the file again; this copy is damaged or incomplete";

/** Bytes per number of every dtype of the format; sub-byte formats are left out and only their offsets are checked. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  ...{ F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1 },
  ...{ I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1 },
};

const DECODERS: Readonly<Record<string, (bytes: Uint8Array) => Float32Array<ArrayBuffer>>> = {
  F32: decodeF32Bytes,
  F16: decodeF16Bytes,
  BF16: decodeBf16Bytes,
};

interface Tensor {
  source: ByteSource;
  dtype: string;
  shape: readonly number[];
  /** Absolute in the file. */
  begin: number;
  end: number;
}

/**
 * The weights of a model folder: model.safetensors, or the shards of its index. Only headers are read now.
 * Throws `not-found` where there is neither, `bad-weights` for a damaged file, `weights-missing` for a missing shard.
 */
export async function openSafetensors(files: ModelFiles, signal?: AbortSignal): Promise<WeightStore> {
  const single = await files.open(SINGLE_FILE);
  if (single !== undefined) return storeOf(await readHeader(single, signal));
  const index = await files.text(SHARD_INDEX);
  if (index === undefined) {
    const message = `${files.label} has neither ${SINGLE_FILE} nor ${SHARD_INDEX}`;
    throw new EngineError("not-found", message, "choose a Hugging Face folder that holds safetensors weights", {
      folder: files.label,
    });
  }
  return storeOf(await readShards(files, index, signal));
}

async function readShards(files: ModelFiles, index: string, signal: AbortSignal | undefined): Promise<Map<string, Tensor>> {
  const json = parseJson(index, SHARD_INDEX, "bad-weights", DAMAGED);
  const map = isRecord(json) ? json["weight_map"] : undefined;
  if (!isRecord(map)) throw damaged(SHARD_INDEX, "has no weight_map");
  const shards = new Map<string, Map<string, Tensor>>();
  const tensors = new Map<string, Tensor>();
  for (const [name, file] of Object.entries(map)) {
    // A shard lies beside its index: the index is data from elsewhere and must not lead out of the folder.
    if (typeof file !== "string" || /[/\\]/.test(file)) throw damaged(SHARD_INDEX, `places ${name} in ${shown(file)}`);
    const shard = shards.get(file) ?? (await openShard(files, file, signal));
    shards.set(file, shard);
    const tensor = shard.get(name);
    if (tensor === undefined) throw damaged(file, `has no tensor ${name}, which ${SHARD_INDEX} places there`);
    tensors.set(name, tensor);
  }
  return tensors;
}

async function openShard(files: ModelFiles, file: string, signal: AbortSignal | undefined): Promise<Map<string, Tensor>> {
  const source = await files.open(file);
  if (source !== undefined) return readHeader(source, signal);
  throw new EngineError("weights-missing", `${files.label} has no ${file}, which its index names`, `download ${file} as well`, {
    file,
  });
}

async function readHeader(source: ByteSource, signal: AbortSignal | undefined): Promise<Map<string, Tensor>> {
  throwIfAborted(signal);
  if (source.size < 8) throw damaged(source.name, `holds ${source.size} bytes, too few for a header`);
  const lengthBytes = await source.read(0, 8, signal);
  const length = Number(new DataView(lengthBytes.buffer, lengthBytes.byteOffset, 8).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES)
    throw damaged(source.name, `states a header of ${length} bytes; at most ${MAX_HEADER_BYTES} are allowed`);
  if (8 + length > source.size) throw damaged(source.name, `states a header of ${length} bytes in a file of ${source.size}`);
  const text = decodeUtf8(await source.read(8, length, signal), source.name);
  if (!text.startsWith("{")) throw damaged(source.name, "is no safetensors file: its header does not begin with {");
  const header = parseJson(text, `the header of ${source.name}`, "bad-weights", DAMAGED);
  if (!isRecord(header)) throw damaged(source.name, "has a header that is no object");

  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== "__metadata__") tensors.set(name, readEntry(source, name, entry, 8 + length));
  }
  checkLayout(source, tensors, 8 + length);
  return tensors;
}

function readEntry(source: ByteSource, name: string, entry: unknown, dataStart: number): Tensor {
  if (!isRecord(entry)) throw damaged(source.name, `describes tensor ${name} by ${shown(entry)}`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string") throw damaged(source.name, `gives tensor ${name} the dtype ${shown(dtype)}`);
  if (!isSizes(shape)) throw damaged(source.name, `gives tensor ${name} the shape ${shown(shape)}`);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw damaged(source.name, `gives tensor ${name} the offsets ${shown(offsets)}`);
  }
  const [begin, end] = offsets;
  const count = shape.reduce((product, size) => product * size, 1);
  const width = Object.hasOwn(DTYPE_BYTES, dtype) ? DTYPE_BYTES[dtype] : undefined;
  if (width !== undefined && count * width !== end - begin) {
    throw damaged(
      source.name,
      `stores tensor ${name} in ${end - begin} bytes; ${dtype} [${shape.join(", ")}] needs ${count * width}`,
    );
  }
  return { source, dtype, shape, begin: dataStart + begin, end: dataStart + end };
}

/** The tensors must follow each other without holes or overlaps and end where the file ends. */
function checkLayout(source: ByteSource, tensors: ReadonlyMap<string, Tensor>, dataStart: number): void {
  const byPlace = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  const cut = byPlace.find(([, tensor]) => tensor.end > source.size);
  if (cut !== undefined) throw damaged(source.name, `ends ${cut[1].end - source.size} bytes before the end of tensor ${cut[0]}`);
  let expected = dataStart;
  for (const [name, tensor] of byPlace) {
    if (tensor.end > source.size)
      if (tensor.begin < expected) throw damaged(source.name, `stores tensor ${name} over another tensor`);
    if (tensor.begin > expected) throw damaged(source.name, `has ${tensor.begin - expected} unused bytes before tensor ${name}`);
    expected = tensor.end;
  }
  if (expected !== source.size) throw damaged(source.name, `has ${source.size - expected} unused bytes at its end`);
}

function storeOf(tensors: ReadonlyMap<string, Tensor>): WeightStore {
  const tensorOf = (name: string): Tensor => {
    const tensor = tensors.get(name);
    if (tensor !== undefined) return tensor;
    throw new EngineError(
      "weights-missing",
      `the weights have no tensor ${name}`,
      "download the model again, with all its files",
      { name },
    );
  };
  return {
    has: (name) => tensors.has(name),
    shape: (name) => tensorOf(name).shape,
    readRows: (name, rowStart, rowEnd, signal) => readRows(name, tensorOf(name), rowStart, rowEnd, signal),
  };
}

async function readRows(
  name: string,
  tensor: Tensor,
  rowStart = 0,
  rowEnd = tensor.shape.at(0) ?? 1,
  signal?: AbortSignal,
): Promise<Float32Array<ArrayBuffer>> {
  const decode = Object.hasOwn(DECODERS, tensor.dtype) ? DECODERS[tensor.dtype] : undefined;
  if (decode === undefined) {
    const message = `tensor ${name} is ${tensor.dtype}, and the engine reads ${Object.keys(DECODERS).join(", ")}`;
    throw new EngineError("bad-weights", message, "choose the F16 or BF16 version of the model", { name, dtype: tensor.dtype });
  }
  const rows = tensor.shape.at(0) ?? 1;
  if (!(Number.isInteger(rowStart) && Number.isInteger(rowEnd) && rowStart >= 0 && rowStart <= rowEnd && rowEnd <= rows)) {
    throw new EngineError(
      "bad-argument",
      `rows ${rowStart} to ${rowEnd} of tensor ${name}, which has ${rows}`,
      "ask for rows that exist",
      { name },
    );
  }
  const rowNumbers = tensor.shape.slice(1).reduce((product, size) => product * size, 1);
  const width = DTYPE_BYTES[tensor.dtype];
  const values = new Float32Array((rowEnd - rowStart) * rowNumbers);
  const begin = tensor.begin + rowStart * rowNumbers * width;
  for (let done = 0; done < values.length;) {
    throwIfAborted(signal);
    const count = Math.min(values.length - done, PIECE_BYTES / width);
    values.set(decode(await tensor.source.read(begin + done * width, count * width, signal)), done);
    done += count;
  }
  return values;
}

function decodeUtf8(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw damaged(file, `has a header that is not UTF-8 (${error instanceof Error ? error.message : String(error)})`);
  }
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && Number(size) >= 0);
}

function damaged(file: string, what: string): EngineError {
  return new EngineError("bad-weights", `${file} ${what}`, DAMAGED, { file });
}
