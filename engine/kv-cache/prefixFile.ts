/**
 * A page of a prefix as a file. Little-endian:
 *   8 bytes "LCPREFIX", u32 version, u32 page number, 16 bytes root key, 16 bytes page key, u64 bytes of the payload, the payload, and the
 *   SHA-256 of everything before it.
 * The checksum is computed by the platform, faster than a disk delivers, and no damage passes it: what was cut off, overwritten or mixed up
 * in a crash is not used.
 */
import type { PrefixName } from "./api.ts";
import { fromHex, sha256 } from "./sha256.ts";

const MAGIC = "LCPREFIX";
const VERSION = 1;
const ROOT_AT = 16;
const KEY_AT = 32;
const PAYLOAD_BYTES_AT = 48;
const HEADER_BYTES = 56;
const CHECKSUM_BYTES = 32;

/** Bytes of the file of a page with this payload. */
export function prefixFileBytes(payloadBytes: number): number {
  return HEADER_BYTES + payloadBytes + CHECKSUM_BYTES;
}

export async function encodePrefixFile(name: PrefixName, payload: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(prefixFileBytes(payload.length));
  bytes.set(header(name, payload.length));
  bytes.set(payload, HEADER_BYTES);
  bytes.set(await sha256(bytes.subarray(0, -CHECKSUM_BYTES)), bytes.length - CHECKSUM_BYTES);
  return bytes;
}

/** The payload, a view into `bytes`; undefined where they are not, to the last bit, the page of this name and size. */
export async function decodePrefixFile(
  bytes: Uint8Array<ArrayBuffer>,
  name: PrefixName,
  payloadBytes: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (bytes.length !== prefixFileBytes(payloadBytes)) return undefined;
  if (!sameBytes(bytes.subarray(0, HEADER_BYTES), header(name, payloadBytes))) return undefined;
  const checksum = await sha256(bytes.subarray(0, -CHECKSUM_BYTES));
  if (!sameBytes(bytes.subarray(-CHECKSUM_BYTES), checksum)) return undefined;
  return bytes.subarray(HEADER_BYTES, -CHECKSUM_BYTES);
}

function header({ root, page, key }: PrefixName, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(new TextEncoder().encode(MAGIC));
  const view = new DataView(bytes.buffer);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, page, true);
  bytes.set(fromHex(root), ROOT_AT);
  bytes.set(fromHex(key), KEY_AT);
  view.setBigUint64(PAYLOAD_BYTES_AT, BigInt(payloadBytes), true);
  return bytes;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
