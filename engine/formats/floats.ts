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

/** The value of 8 bits as the finite e4m3 of the OCP 8-bit formats: bias 7, no infinities, all ones is NaN. */
export function decodeF8E4M3(bits: number): number {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 0xf;
  const fraction = bits & 7;
  if (exponent === 0xf && fraction === 7) return NaN;
  return exponent === 0 ? sign * fraction * 2 ** -9 : sign * (1 + fraction / 8) * 2 ** (exponent - 7);
}

/** The value of 8 bits as e5m2: the upper half of a binary16. */
export function decodeF8E5M2(bits: number): number {
  return decodeF16(bits << 8);
}

/** Little-endian binary16 values of `bytes`, into `values`. */
export function decodeF16Bytes(bytes: Uint8Array, values: Float32Array = new Float32Array(bytes.length / 2)): Float32Array {
  const table = f16Values();
  for (let i = 0; i < values.length; i++) values[i] = table[bytes[2 * i] | (bytes[2 * i + 1] << 8)];
  return values;
}

/** Little-endian bfloat16 values of `bytes`, into `values`. */
export function decodeBf16Bytes(bytes: Uint8Array, values: Float32Array = new Float32Array(bytes.length / 2)): Float32Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) words[i] = (bytes[2 * i] << 16) | (bytes[2 * i + 1] << 24);
  return values;
}

/** Little-endian f32 values of `bytes`, into `values`. */
export function decodeF32Bytes(bytes: Uint8Array, values: Float32Array): void {
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(bytes);
}

/** Little-endian f64 values of `bytes`, rounded to f32, into `values`. */
export function decodeF64Bytes(bytes: Uint8Array, values: Float32Array): void {
  values.set(new Float64Array(bytes.slice().buffer));
}

let f16Table: Float32Array | undefined;

/** The values of all 65536 binary16 patterns: decoding a weight file is then one look-up a number. */
export function f16Values(): Float32Array {
  f16Table ??= Float32Array.from({ length: 65536 }, (_, bits) => decodeF16(bits));
  return f16Table;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
