/** Value of every base64 character, 64 for others. */
const SEXTETS = Uint8Array.from({ length: 256 }, (_, code) => {
  const value = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".indexOf(String.fromCharCode(code));
  return value < 0 ? 64 : value;
});

/** Bytes of base64 text, or undefined where it is none; padding may be left out. */
export function base64Bytes(file: Uint8Array, start: number, end: number): Uint8Array<ArrayBuffer> | undefined {
  let stop = end;
  while (stop > start && stop > end - 2 && file[stop - 1] === 61) stop--;
  const length = stop - start;
  if (length % 4 === 1 || length === 0) return undefined;
  const bytes = new Uint8Array(Math.floor((length * 3) / 4));
  let held = 0;
  let bits = 0;
  let put = 0;
  for (let at = start; at < stop; at++) {
    const sextet = SEXTETS[file[at]];
    if (sextet === 64) return undefined;
    held = ((held << 6) | sextet) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[put++] = held >> bits;
  }
  return bytes;
}
