import { hash } from "node:crypto";

/** sha256 of the bytes in hexadecimal: the name of a file's content everywhere in the product. */
export function contentHash(bytes: Uint8Array): string {
  return hash("sha256", bytes, "hex");
}
