/**
 * safetensors: u64 little-endian header length n, n bytes of JSON, then the tensors, row-major and without holes.
 * Entry: name -> {dtype, shape, data_offsets: [begin, end)} relative to the data.
 */
import type { ByteSource, ModelFiles, TensorFormat } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { isRecord, shown } from "./json.ts";
import { parseHeaderJson } from "./jsonText.ts";
import { LAYOUTS } from "./layouts.ts";
import { type NamedStore, placedStore, type PlacedTensor } from "./tensorStore.ts";

const SINGLE_FILE = "model.safetensors";
const SHARD_INDEX = "model.safetensors.index.json";
const MAX_HEADER_BYTES = 100_000_000;
/** The header, an entry, its shape. */
const HEADER_DEPTH = 3;
/** The index, its metadata, and what their writers put into it. */
const INDEX_DEPTH = 8;
const DAMAGED = "download the file again; this copy is damaged or incomplete";

/** The dtypes that the engine reads; of others only the offsets are checked (F8_E8M0 and those below a byte). */
const FORMATS: Readonly<Record<string, TensorFormat>> = {
  ...{ F64: "f64", F32: "f32", F16: "f16", BF16: "bf16", F8_E4M3: "f8_e4m3", F8_E5M2: "f8_e5m2" },
  ...{ I64: "i64", I32: "i32", I16: "i16", I8: "i8", U64: "u64", U32: "u32", U16: "u16", U8: "u8", BOOL: "bool" },
};

interface Tensor extends PlacedTensor {
  /** Absolute in the file, as `begin` is. */
  readonly end: number;
}

/**
 * The weights of a model folder: model.safetensors, or the shards of its index. Only headers are read now.
 * Throws `not-found` where there is neither, `bad-weights` for a damaged file, `weights-missing` for a missing shard.
 */
export async function openSafetensors(files: ModelFiles, signal?: AbortSignal): Promise<NamedStore> {
  const single = await files.open(SINGLE_FILE);
  if (single !== undefined) return placedStore(await readHeader(single, signal));
  const index = await files.text(SHARD_INDEX);
  if (index === undefined) {
    const message = `${files.label} has neither ${SINGLE_FILE} nor ${SHARD_INDEX}`;
    throw new EngineError("not-found", message, "choose a Hugging Face folder that holds safetensors weights", {
      folder: files.label,
    });
  }
  return placedStore(await readShards(files, index, signal));
}

async function readShards(files: ModelFiles, index: string, signal: AbortSignal | undefined): Promise<Map<string, Tensor>> {
  const json = parseHeaderJson(index, SHARD_INDEX, "bad-weights", DAMAGED, INDEX_DEPTH);
  const map = isRecord(json) ? json["weight_map"] : undefined;
  if (!isRecord(map)) throw damaged(SHARD_INDEX, "has no weight_map");
  const shards = new Map<string, Map<string, Tensor>>();
  const tensors = new Map<string, Tensor>();
  for (const [name, file] of Object.entries(map)) {
    // A shard lies beside its index: the index is data from elsewhere and must not lead out of the folder.
    if (typeof file !== "string" || !/^[^/\\\0]+\.safetensors$/.test(file))
      throw damaged(SHARD_INDEX, `places ${name} in ${shown(file)}`);
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
  const header = parseHeaderJson(text, `the header of ${source.name}`, "bad-weights", DAMAGED, HEADER_DEPTH);
  if (!isRecord(header)) throw damaged(source.name, "has a header that is no object");

  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") checkMetadata(source, entry);
    else tensors.set(name, readEntry(source, name, entry, 8 + length));
  }
  checkLayout(source, tensors, 8 + length);
  return tensors;
}

/** Texts by name; the engine uses none of them. */
function checkMetadata(source: ByteSource, entry: unknown): void {
  if (!isRecord(entry) || Object.values(entry).some((value) => typeof value !== "string"))
    throw damaged(source.name, `has the __metadata__ ${shown(entry)}`);
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
  const format = Object.hasOwn(FORMATS, dtype) ? FORMATS[dtype] : undefined;
  if (format === undefined) return { source, format: { unknown: dtype }, shape, begin: dataStart + begin, end: dataStart + end };
  const needed = shape.reduce((product, size) => product * size, 1) * LAYOUTS[format].bytes;
  if (needed !== end - begin) {
    throw damaged(source.name, `stores tensor ${name} in ${end - begin} bytes; ${dtype} [${shape.join(", ")}] needs ${needed}`);
  }
  return { source, format, shape, begin: dataStart + begin, end: dataStart + end };
}

/** The tensors must follow each other without holes or overlaps and end where the file ends. */
function checkLayout(source: ByteSource, tensors: ReadonlyMap<string, Tensor>, dataStart: number): void {
  const byPlace = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  const cut = byPlace.find(([, tensor]) => tensor.end > source.size);
  if (cut !== undefined) throw damaged(source.name, `ends ${cut[1].end - source.size} bytes before the end of tensor ${cut[0]}`);
  let expected = dataStart;
  for (const [name, tensor] of byPlace) {
    if (tensor.begin < expected) throw damaged(source.name, `stores tensor ${name} over another tensor`);
    if (tensor.begin > expected) throw damaged(source.name, `has ${tensor.begin - expected} unused bytes before tensor ${name}`);
    expected = tensor.end;
  }
  if (expected !== source.size) throw damaged(source.name, `has ${source.size - expected} unused bytes at its end`);
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
