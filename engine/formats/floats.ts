/** Small floating-point formats, as f32 numbers. */

const view = new DataView(new ArrayBuffer(4));

/** The value of 16 bits as IEEE binary16. */
export function decodeF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The value of 16 bits as bfloat16: the upper half of an f32. */
export function decodeBf16(bits: number): number {
  view.setUint32(0, (bits << 16) >>> 0);
  return view.getFloat32(0);
}

/** The nearest binary16, ties to even; too large becomes infinity. */
export function encodeF16(value: number): number {
  view.setFloat32(0, value);
  const bits = view.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  if (Number.isNaN(value)) return sign | 0x7e00;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  // Below the smallest normal number the step is 2^-24; above it the step follows the exponent.
  const exponent = Math.max(Math.floor(Math.log2(magnitude || 2 ** -24)), -14);
  const steps = roundHalfEven(magnitude * 2 ** (10 - exponent));
  return sign | (steps + ((exponent + 14) << 10));
}

/** Little-endian binary16 values of `bytes`. */
export function decodeF16Bytes(bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const table = f16Table();
  return decode16(bytes, (bits) => table[bits]);
}

/** Little-endian bfloat16 values of `bytes`. */
export function decodeBf16Bytes(bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(bytes.length / 2);
  for (let i = 0; i < words.length; i++) words[i] = (bytes[2 * i] << 16) | (bytes[2 * i + 1] << 24);
  return new Float32Array(words.buffer);
}

/** Little-endian f32 values of `bytes`. */
export function decodeF32Bytes(bytes: Uint8Array): Float32Array<ArrayBuffer> {
  return new Float32Array(bytes.slice().buffer);
}

let table: Float32Array | undefined;

/** All 65536 values: decoding a weight file is then one look-up a number. */
function f16Table(): Float32Array {
  table ??= Float32Array.from({ length: 65536 }, (_, bits) => decodeF16(bits));
  return table;
}

function decode16(bytes: Uint8Array, value: (bits: number) => number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) values[i] = value(bytes[2 * i] | (bytes[2 * i + 1] << 8));
  return values;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
