import { hash } from "node:crypto";

/** sha256 of the bytes in hexadecimal: the name of a file's content everywhere in the product. */
export function contentHash(bytes: Uint8Array): string {
  return hash("sha256", bytes, "hex");
}

/** sha256 of a text as UTF-8: the hash of a file that holds it. */
export function textHash(text: string): string {
  return hash("sha256", text, "hex");
}
