/**
 * A recurrent model's state as bytes, so that a context need not be read again. Little-endian:
 *   8 bytes "LCPSTATE", u32 version, u32 tokens read, u64 model key, u32 numbers, u32 CRC-32 of everything but these four bytes,
 *   then the numbers in f32: layer by layer the parts of state.ts, then the final normed state of the last token.
 */
import type { RecurrentSpec, WeightFormat, WeightStore } from "../api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { recurrentShapes } from "./weights.ts";

const MAGIC = "LCPSTATE";
const VERSION = 1;
const HEADER_BYTES = 32;
const CRC_AT = 28;

export interface StateImage {
  /** Tokens the model has read. */
  length: number;
  values: Float32Array<ArrayBuffer>;
}

/** Identifies a model as it runs: its spec, how its weights are kept, and the beginning of the tensors outside its layers and of three layers. */
export async function modelKey(
  spec: RecurrentSpec,
  weights: WeightStore,
  format: WeightFormat,
  signal?: AbortSignal,
): Promise<bigint> {
  const facts = JSON.stringify([spec, format], (name, value: unknown) =>
    UNSEEN.has(name) ? undefined : value === Infinity ? "Infinity" : value,
  );
  const hash = openHash();
  hash.add(new TextEncoder().encode(facts));
  // All layers would be thousands of small reads, which a panel does one by one.
  const sampled = new Set([0, Math.floor(spec.layerCount / 2), spec.layerCount - 1].map(String));
  for (const [name, shape] of recurrentShapes(spec)) {
    const layer = /\.layers\.(\d+)\./.exec(name)?.[1];
    if (layer !== undefined && !sampled.has(layer)) continue;
    throwIfAborted(signal);
    const rows = shape.length === 1 ? Math.min(shape[0] ?? 0, SAMPLED_NUMBERS) : 1;
    const sample = await weights.readRows(name, 0, rows, signal);
    hash.add(new Uint8Array(sample.buffer, sample.byteOffset, Math.min(sample.length, SAMPLED_NUMBERS) * 4));
  }
  return hash.value();
}

/** What ends an answer and how a prompt is written say nothing about the state. */
const UNSEEN: ReadonlySet<string> = new Set(["bosTokenId", "eosTokenIds", "absentTokenId", "promptFormat", "answerLines"]);

/** Numbers of each tensor that go into the key: checkpoints of one training differ in nearly every number. */
const SAMPLED_NUMBERS = 64;

export function encodeState(key: bigint, { length, values }: StateImage): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + values.length * 4);
  bytes.set(new TextEncoder().encode(MAGIC));
  const view = new DataView(bytes.buffer);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, length, true);
  view.setBigUint64(16, key, true);
  view.setUint32(24, values.length, true);
  for (let i = 0; i < values.length; i++) view.setFloat32(HEADER_BYTES + 4 * i, values[i], true);
  view.setUint32(CRC_AT, checksum(bytes), true);
  return bytes;
}

/** Throws `bad-argument` for bytes that are damaged, of another version, or of another model than the one with this key and size. */
export function decodeState(bytes: Uint8Array, key: bigint, numbers: number): StateImage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = new TextDecoder().decode(bytes.slice(0, MAGIC.length));
  if (bytes.length < HEADER_BYTES || magic !== MAGIC) throw damaged("is none");
  const version = view.getUint32(8, true);
  if (version !== VERSION) throw damaged(`has version ${version}, and this engine reads ${VERSION}`);
  const stated = view.getUint32(24, true);
  if (bytes.length !== HEADER_BYTES + 4 * stated) throw damaged(`has ${bytes.length} bytes and states ${stated} numbers`);
  if (view.getUint32(CRC_AT, true) !== checksum(bytes)) throw damaged("does not have the checksum it states");
  if (view.getBigUint64(16, true) !== key || stated !== numbers) {
    const remedy = "open the model and the weight format it was saved with, or read the context again";
    throw new EngineError("bad-argument", "the saved state belongs to another model", remedy);
  }
  const values = Float32Array.from({ length: stated }, (_, i) => view.getFloat32(HEADER_BYTES + 4 * i, true));
  return { length: view.getUint32(12, true), values };
}

function damaged(what: string): EngineError {
  return new EngineError("bad-argument", `the saved state ${what}`, "read the context again");
}

function checksum(bytes: Uint8Array): number {
  return crc32(crc32(0, bytes.subarray(0, CRC_AT)), bytes.subarray(CRC_AT + 4));
}

/** CRC-32 (IEEE 802.3, reflected) of what came before, then these bytes. */
function crc32(before: number, bytes: Uint8Array): number {
  let crc = ~before;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0xedb88320 : 0);
  return crc;
});

/** Two 32-bit FNV-1a hashes from different starts. */
function openHash(): { add(bytes: Uint8Array): void; value(): bigint } {
  let low = 0x811c9dc5;
  let high = 0x9dc5811c;
  return {
    add(bytes) {
      for (const byte of bytes) {
        low = Math.imul(low ^ byte, 0x01000193) >>> 0;
        high = Math.imul(high ^ (byte + 1), 0x01000193) >>> 0;
      }
    },
    value: () => (BigInt(high) << 32n) | BigInt(low),
  };
}
