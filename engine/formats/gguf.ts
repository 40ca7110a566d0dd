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
  const cursor = new Cursor(source, signal);
  const magic = source.size >= 24 ? await cursor.u32() : 0;
  if (magic !== MAGIC) throw damaged(source.name, "is no GGUF file: it does not begin with GGUF and a header");
  const version = await cursor.u32();
  if (version !== 2 && version !== 3) throw unreadableVersion(source.name, version);
  const tensorCount = await cursor.count("tensors", MIN_TENSOR_BYTES);
  const entryCount = await cursor.count("metadata entries", MIN_ENTRY_BYTES);
  if (tensorCount > MAX_COUNT || entryCount > MAX_COUNT) {
    throw damaged(
      source.name,
      `states ${tensorCount} tensors and ${entryCount} metadata entries; at most ${MAX_COUNT} are allowed`,
    );
  }
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const key = await cursor.name("a metadata key");
    if (metadata.has(key)) throw damaged(source.name, `has the metadata key ${key} twice`);
    metadata.set(key, await readValue(cursor, await cursor.u32(), key));
  }
  const raw: RawTensor[] = [];
  for (let i = 0; i < tensorCount; i++) raw.push(await readTensor(cursor));
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

async function readTensor(cursor: Cursor): Promise<RawTensor> {
  const name = await cursor.name("a tensor name");
  const dimensions = await cursor.u32();
  if (dimensions > MAX_DIMENSIONS)
    throw damaged(cursor.file, `gives tensor ${name} ${dimensions} dimensions; at most 4 are allowed`);
  const shape: number[] = [];
  for (let i = 0; i < dimensions; i++) {
    const size = await cursor.size(`a dimension of tensor ${name}`);
    if (size === 0) throw damaged(cursor.file, `gives tensor ${name} a dimension of 0`);
    shape.unshift(size);
  }
  return { name, shape, type: await cursor.u32(), offset: await cursor.size(`the offset of tensor ${name}`) };
}

async function readValue(cursor: Cursor, type: number, key: string): Promise<GgufValue> {
  if (type === STRING) return cursor.string(`the value of ${key}`);
  if (type === ARRAY) return readArray(cursor, key);
  const width = VALUE_BYTES[type];
  if (width === undefined) throw damaged(cursor.file, `gives ${key} the unknown type ${type}`);
  const at = await cursor.take(width, `the value of ${key}`);
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
async function readArray(cursor: Cursor, key: string): Promise<GgufValue> {
  const type = await cursor.u32();
  const width = VALUE_BYTES[type];
  if (width === undefined) throw damaged(cursor.file, `gives the elements of ${key} the unknown type ${type}`);
  if (type === ARRAY) throw damaged(cursor.file, `has arrays inside the array ${key}`);
  const length = await cursor.count(`elements of ${key}`, width);
  if (type === STRING) return cursor.strings(length, key);
  const bytes = await cursor.copy(length * width, `the elements of ${key}`);
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

/** Reads forward through the file in large pieces. */
class Cursor {
  /** What lies in memory; positions that `take` gives are positions in it. */
  view = new DataView(new ArrayBuffer(0));
  readonly file: string;
  /** Where `view` begins in the file, and the place in it that is read next. */
  private start = 0;
  private next = 0;
  private readonly utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(
    private readonly source: ByteSource,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.file = source.name;
  }

  /** Absolute place in the file. */
  get at(): number {
    return this.start + this.next;
  }

  /** Steps over `length` bytes that lie in memory afterwards; gives their place in `view`. */
  async take(length: number, what: string): Promise<number> {
    if (this.next + length > this.view.byteLength) await this.load(length, what);
    const at = this.next;
    this.next += length;
    return at;
  }

  async u32(): Promise<number> {
    const at = await this.take(4, "a number of the header");
    return this.view.getUint32(at, true);
  }

  /** A u64 that counts bytes, numbers or places, so that it must be exact in a double. */
  async size(what: string): Promise<number> {
    const at = await this.take(8, what);
    const value = this.view.getBigUint64(at, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged(this.file, `states ${value} for ${what}`);
    return Number(value);
  }

  /** How many things follow, of at least `leastBytes` each; more than the file can hold is refused before they are read. */
  async count(what: string, leastBytes: number): Promise<number> {
    const count = await this.size(`the number of ${what}`);
    const left = this.source.size - this.at;
    if (count * leastBytes <= left) return count;
    throw damaged(this.file, `states ${count} ${what}, and only ${left} bytes are left`);
  }

  async string(what: string): Promise<string> {
    const length = await this.count(`bytes of ${what}`, 1);
    const at = await this.take(length, what);
    return this.utf8.decode(new Uint8Array(this.view.buffer, this.view.byteOffset + at, length));
  }

  async name(what: string): Promise<string> {
    const name = await this.string(what);
    if (name === "") throw damaged(this.file, `leaves ${what} empty`);
    if (name.length > MAX_NAME_BYTES) throw damaged(this.file, `has ${what} of ${name.length} characters`);
    return name;
  }

  /** Strings one after the other; waits only where the next one is not in memory, as a vocabulary has 200,000 of them. */
  async strings(count: number, key: string): Promise<string[]> {
    const strings: string[] = [];
    while (strings.length < count) {
      const length = this.lengthInMemory();
      if (length < 0) strings.push(await this.string(`an element of ${key}`));
      else {
        strings.push(this.utf8.decode(new Uint8Array(this.view.buffer, this.view.byteOffset + this.next + 8, length)));
        this.next += 8 + length;
      }
    }
    return strings;
  }

  async copy(length: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    const at = await this.take(length, what);
    return new Uint8Array(this.view.buffer, this.view.byteOffset + at, length).slice();
  }

  /** Length of the string that comes next when all of it lies in memory, else -1. */
  private lengthInMemory(): number {
    if (this.next + 8 > this.view.byteLength || this.view.getUint32(this.next + 4, true) !== 0) return -1;
    const length = this.view.getUint32(this.next, true);
    return this.next + 8 + length <= this.view.byteLength ? length : -1;
  }

  private async load(length: number, what: string): Promise<void> {
    throwIfAborted(this.signal);
    if (this.at + length > MAX_HEADER_BYTES) {
      throw damaged(this.file, `has a header of more than ${MAX_HEADER_BYTES} bytes`);
    }
    const left = this.source.size - this.at;
    if (length > left) throw damaged(this.file, `ends inside ${what}`);
    const bytes = await this.source.read(this.at, Math.min(left, Math.max(length, PIECE_BYTES)), this.signal);
    this.start = this.at;
    this.next = 0;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < length) throw damaged(this.file, `ends inside ${what}`);
  }
}

const PIECE_BYTES = 2 ** 20;

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
