/**
 * GGUF, versions 2 and 3 (little-endian): "GGUF", u32 version, u64 tensors, u64 metadata entries, the metadata, the tensor
 * descriptions, then the tensors at multiples of `general.alignment`. Only the header is read. Nothing in it is believed:
 * every count and length is checked against the bytes that are left before anything is allocated for it.
 */
import type { ByteSource } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";

/** A metadata value; a whole number beyond 2^53 is a bigint. */
export type GgufValue = number | bigint | boolean | string | GgufNumbers | readonly string[] | readonly boolean[];

/** An array of numbers in its own width. */
export type GgufNumbers =
  | Uint8Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>;

export interface GgufTensor {
  readonly name: string;
  /** Outermost first, as in safetensors; the file holds it the other way round. */
  readonly shape: readonly number[];
  /** Name of the ggml type ("Q8_0"), or "type 99" for one that is not known here. */
  readonly type: string;
  /** Absolute in the file. */
  readonly begin: number;
  /** Undefined for an unknown type, whose size cannot be known. */
  readonly sizeBytes: number | undefined;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  readonly alignment: number;
  /** Where the tensor data begins, absolute in the file. */
  readonly dataStart: number;
}

/** Reads the header of a GGUF file; throws `bad-weights` where it is damaged or of another kind, and `aborted`. */
export async function readGguf(source: ByteSource, signal?: AbortSignal): Promise<GgufHeader> {
  // A header does not say how long it is: it is parsed from its first bytes, and again from more where they do not reach.
  let bytes = new Uint8Array();
  for (let wanted = FIRST_BYTES; ;) {
    bytes = await extended(source, bytes, Math.min(source.size, wanted), signal);
    try {
      return parseHeader(source, new Cursor(source, bytes));
    } catch (error) {
      if (!(error instanceof Incomplete)) throw error;
      wanted = Math.max(error.neededBytes, 4 * bytes.length);
    }
  }
}

async function extended(
  source: ByteSource,
  bytes: Uint8Array<ArrayBuffer>,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  throwIfAborted(signal);
  const more = await source.read(bytes.length, length - bytes.length, signal);
  if (more.length !== length - bytes.length) throw damaged(source.name, "ends inside its header");
  if (bytes.length === 0) return more;
  const joined = new Uint8Array(length);
  joined.set(bytes);
  joined.set(more, bytes.length);
  return joined;
}

function parseHeader(source: ByteSource, cursor: Cursor): GgufHeader {
  const magic = source.size >= 24 ? cursor.u32() : 0;
  if (magic !== MAGIC) throw damaged(source.name, "is no GGUF file: it does not begin with GGUF and a header");
  const version = cursor.u32();
  if (version !== 2 && version !== 3) throw unreadableVersion(source.name, version);
  const tensorCount = cursor.count("tensors", MIN_TENSOR_BYTES);
  const entryCount = cursor.count("metadata entries", MIN_ENTRY_BYTES);
  if (tensorCount > MAX_COUNT || entryCount > MAX_COUNT) {
    throw damaged(
      source.name,
      `states ${tensorCount} tensors and ${entryCount} metadata entries; at most ${MAX_COUNT} are allowed`,
    );
  }
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const key = cursor.name("a metadata key");
    if (metadata.has(key)) throw damaged(source.name, `has the metadata key ${key} twice`);
    metadata.set(key, readValue(cursor, cursor.u32(), key));
  }
  const raw: RawTensor[] = [];
  for (let i = 0; i < tensorCount; i++) raw.push(readTensor(cursor));
  const alignment = readAlignment(source.name, metadata);
  const dataStart = Math.ceil(cursor.at / alignment) * alignment;
  return { version, metadata, tensors: placeTensors(source, raw, alignment, dataStart), alignment, dataStart };
}

const MAGIC = 0x46554747;
/** Empty name, no dimensions, type, offset. */
const MIN_TENSOR_BYTES = 8 + 4 + 4 + 8;
/** Empty key, type, one byte. */
const MIN_ENTRY_BYTES = 8 + 4 + 1;
const MAX_DIMENSIONS = 4;
const MAX_NAME_BYTES = 65_535;
/** Of metadata entries and of tensors each; the largest models have thousands. */
const MAX_COUNT = 100_000;
/** As for safetensors: the largest vocabularies with their merges take a tenth of it. */
const MAX_HEADER_BYTES = 100_000_000;
const DEFAULT_ALIGNMENT = 32;
/** Read at first; a vocabulary goes beyond it. */
const FIRST_BYTES = 2 ** 20;
const DAMAGED = "download the file again; this copy is damaged or incomplete";

const STRING = 8;
const ARRAY = 9;

/** Bytes of one element of every metadata type, by its number; of a string and an array the least. */
const VALUE_BYTES: readonly number[] = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];
const BOOL = 7;

/** ggml type number -> name, numbers per block, bytes per block. */
const TENSOR_TYPES: Readonly<Record<number, readonly [name: string, numbers: number, bytes: number]>> = {
  0: ["F32", 1, 4],
  1: ["F16", 1, 2],
  2: ["Q4_0", 32, 18],
  3: ["Q4_1", 32, 20],
  6: ["Q5_0", 32, 22],
  7: ["Q5_1", 32, 24],
  8: ["Q8_0", 32, 34],
  10: ["Q2_K", 256, 84],
  11: ["Q3_K", 256, 110],
  12: ["Q4_K", 256, 144],
  13: ["Q5_K", 256, 176],
  14: ["Q6_K", 256, 210],
  20: ["IQ4_NL", 32, 18],
  23: ["IQ4_XS", 256, 136],
  24: ["I8", 1, 1],
  25: ["I16", 1, 2],
  26: ["I32", 1, 4],
  27: ["I64", 1, 8],
  28: ["F64", 1, 8],
  30: ["BF16", 1, 2],
  39: ["MXFP4", 32, 17],
};

interface RawTensor {
  name: string;
  shape: number[];
  type: number;
  offset: number;
}

function readTensor(cursor: Cursor): RawTensor {
  const name = cursor.name("a tensor name");
  const dimensions = cursor.u32();
  if (dimensions > MAX_DIMENSIONS)
    throw damaged(cursor.file, `gives tensor ${name} ${dimensions} dimensions; at most 4 are allowed`);
  const shape: number[] = [];
  for (let i = 0; i < dimensions; i++) {
    const size = cursor.size(`a dimension of tensor ${name}`);
    if (size === 0) throw damaged(cursor.file, `gives tensor ${name} a dimension of 0`);
    shape.unshift(size);
  }
  return { name, shape, type: cursor.u32(), offset: cursor.size(`the offset of tensor ${name}`) };
}

function readValue(cursor: Cursor, type: number, key: string): GgufValue {
  if (type === STRING) return cursor.string(`the value of ${key}`);
  if (type === ARRAY) return readArray(cursor, key);
  const width = VALUE_BYTES[type];
  if (width === undefined) throw damaged(cursor.file, `gives ${key} the unknown type ${type}`);
  const at = cursor.take(width, `the value of ${key}`);
  switch (type) {
    case 0:
      return cursor.view.getUint8(at);
    case 1:
      return cursor.view.getInt8(at);
    case 2:
      return cursor.view.getUint16(at, true);
    case 3:
      return cursor.view.getInt16(at, true);
    case 4:
      return cursor.view.getUint32(at, true);
    case 5:
      return cursor.view.getInt32(at, true);
    case 6:
      return cursor.view.getFloat32(at, true);
    case 7:
      return cursor.view.getUint8(at) !== 0;
    case 10:
      return plainInteger(cursor.view.getBigUint64(at, true));
    case 11:
      return plainInteger(cursor.view.getBigInt64(at, true));
    default:
      return cursor.view.getFloat64(at, true);
  }
}

/** llama.cpp reads no arrays of arrays either. */
function readArray(cursor: Cursor, key: string): GgufValue {
  const type = cursor.u32();
  const width = VALUE_BYTES[type];
  if (width === undefined) throw damaged(cursor.file, `gives the elements of ${key} the unknown type ${type}`);
  if (type === ARRAY) throw damaged(cursor.file, `has arrays inside the array ${key}`);
  const length = cursor.count(`elements of ${key}`, width);
  if (type === STRING) return cursor.strings(length, key);
  const bytes = cursor.copy(length * width, `the elements of ${key}`);
  return type === BOOL ? Array.from(bytes, (byte) => byte !== 0) : numbersOf(type, bytes.buffer);
}

/** A typed array over its own bytes; the machine's byte order is the file's on every platform that VS Code runs on. */
function numbersOf(type: number, buffer: ArrayBuffer): GgufNumbers {
  switch (type) {
    case 0:
      return new Uint8Array(buffer);
    case 1:
      return new Int8Array(buffer);
    case 2:
      return new Uint16Array(buffer);
    case 3:
      return new Int16Array(buffer);
    case 4:
      return new Uint32Array(buffer);
    case 5:
      return new Int32Array(buffer);
    case 6:
      return new Float32Array(buffer);
    case 10:
      return new BigUint64Array(buffer);
    case 11:
      return new BigInt64Array(buffer);
    default:
      return new Float64Array(buffer);
  }
}

function plainInteger(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function readAlignment(file: string, metadata: ReadonlyMap<string, GgufValue>): number {
  const alignment = metadata.get("general.alignment") ?? DEFAULT_ALIGNMENT;
  if (
    typeof alignment === "number" &&
    Number.isInteger(alignment) &&
    alignment >= 1 &&
    alignment <= 2 ** 20 &&
    alignment % 8 === 0
  )
    return alignment;
  throw damaged(file, `states the alignment ${String(alignment)}; it must be a multiple of 8`);
}

/** Tensors in the order of the file, with their places checked: aligned, inside the file, none over another. */
function placeTensors(
  source: ByteSource,
  raw: readonly RawTensor[],
  alignment: number,
  dataStart: number,
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  for (const { name, shape, type, offset } of raw) {
    if (tensors.has(name)) throw damaged(source.name, `has tensor ${name} twice`);
    if (offset % alignment !== 0)
      throw damaged(source.name, `places tensor ${name} at ${offset}, not a multiple of ${alignment}`);
    const begin = dataStart + offset;
    const known = TENSOR_TYPES[type];
    const sizeBytes = known && tensorBytes(source.name, name, shape, known);
    if (begin + (sizeBytes ?? 0) > source.size) throw damaged(source.name, `ends before the end of tensor ${name}`);
    tensors.set(name, { name, shape, type: known?.[0] ?? `type ${type}`, begin, sizeBytes });
  }
  let end = dataStart;
  for (const tensor of [...tensors.values()].sort((a, b) => a.begin - b.begin)) {
    if (tensor.begin < end) throw damaged(source.name, `stores tensor ${tensor.name} over another tensor`);
    end = tensor.begin + (tensor.sizeBytes ?? 0);
  }
  return tensors;
}

function tensorBytes(file: string, name: string, shape: readonly number[], type: readonly [string, number, number]): number {
  const [typeName, numbers, bytes] = type;
  const row = shape.at(-1) ?? 1;
  if (row % numbers !== 0) throw damaged(file, `gives tensor ${name} rows of ${row}; ${typeName} needs a multiple of ${numbers}`);
  return (shape.reduce((product, size) => product * size, 1) / numbers) * bytes;
}

/** The header goes on behind the bytes that are known. */
class Incomplete extends Error {
  constructor(readonly neededBytes: number) {
    super("the header is not complete");
  }
}

/** Reads forward through the first bytes of a file. */
class Cursor {
  readonly file: string;
  readonly view: DataView;
  /** Place in the file that is read next. */
  at = 0;
  private readonly fileBytes: number;
  private readonly utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(
    source: ByteSource,
    private readonly bytes: Uint8Array<ArrayBuffer>,
  ) {
    this.file = source.name;
    this.fileBytes = source.size;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Steps over `length` bytes, which are known then; gives their place. */
  take(length: number, what: string): number {
    const at = this.at;
    const end = at + length;
    if (end > this.bytes.length) {
      if (end > this.fileBytes) throw damaged(this.file, `ends inside ${what}`);
      if (end > MAX_HEADER_BYTES) throw damaged(this.file, `has a header of more than ${MAX_HEADER_BYTES} bytes`);
      throw new Incomplete(end);
    }
    this.at = end;
    return at;
  }

  u32(): number {
    return this.view.getUint32(this.take(4, "a number of the header"), true);
  }

  /** A u64 that counts bytes, numbers or places, so that it must be exact in a double. */
  size(what: string): number {
    const value = this.view.getBigUint64(this.take(8, what), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(this.file, `states ${value} for ${what}`);
    return Number(value);
  }

  /** How many things follow, of at least `leastBytes` each; more than the file can hold is refused before they are read. */
  count(what: string, leastBytes: number): number {
    const count = this.size(`the number of ${what}`);
    const left = this.fileBytes - this.at;
    if (count * leastBytes <= left) return count;
    throw damaged(this.file, `states ${count} ${what}, and only ${left} bytes are left`);
  }

  string(what: string): string {
    const length = this.count(`bytes of ${what}`, 1);
    const at = this.take(length, what);
    return this.utf8.decode(this.bytes.subarray(at, at + length));
  }

  name(what: string): string {
    const name = this.string(what);
    if (name === "") throw damaged(this.file, `leaves ${what} empty`);
    if (name.length > MAX_NAME_BYTES) throw damaged(this.file, `has ${what} of ${name.length} characters`);
    return name;
  }

  /** Strings one after the other; a vocabulary has 200,000, so what they are called is only said where one is wrong. */
  strings(count: number, key: string): string[] {
    const strings: string[] = [];
    while (strings.length < count) {
      const start = this.at + 8;
      const end = start <= this.bytes.length ? start + Number(this.view.getBigUint64(this.at, true)) : Infinity;
      if (end > this.bytes.length) strings.push(this.string(`an element of ${key}`));
      else {
        strings.push(this.utf8.decode(this.bytes.subarray(start, end)));
        this.at = end;
      }
    }
    return strings;
  }

  copy(length: number, what: string): Uint8Array<ArrayBuffer> {
    const at = this.take(length, what);
    return this.bytes.slice(at, at + length);
  }
}

function unreadableVersion(file: string, version: number): EngineError {
  const turned = (version & 0xffff) === 0 && version !== 0;
  const what = turned ? "is a big-endian GGUF file" : `is GGUF version ${version}`;
  return new EngineError(
    "bad-weights",
    `${file} ${what}; little-endian versions 2 and 3 are read`,
    "convert the model again with a current llama.cpp",
    {
      file,
      version,
    },
  );
}

function damaged(file: string, what: string): EngineError {
  return new EngineError("bad-weights", `${file} ${what}`, DAMAGED, { file });
}
