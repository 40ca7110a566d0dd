/**
 * The byte-level alphabet of GPT-2: printable Latin-1 bytes (33-126, 161-172, 174-255) are written as themselves, the
 * other 68 as U+0100 and following in byte order, so that every byte string has a printable spelling.
 */
export const byteToChar: readonly string[] = makeAlphabet();

const charToByte: ReadonlyMap<string, number> = new Map(byteToChar.map((char, byte) => [char, byte]));

/** Bytes of a vocabulary entry spelt in the alphabet, or undefined where a character is outside it. */
export function alphabetBytes(spelling: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = new Uint8Array(spelling.length);
  for (let i = 0; i < spelling.length; i++) {
    const byte = charToByte.get(spelling.charAt(i));
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

function makeAlphabet(): string[] {
  const alphabet: string[] = [];
  let moved = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    alphabet.push(String.fromCharCode(printable ? byte : moved++));
  }
  return alphabet;
}
