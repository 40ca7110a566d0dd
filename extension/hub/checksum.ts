/** What a hub says about the content of a file: sha256 for those in LFS, the git blob's sha1 for the others. */
import { createHash, type Hash } from "node:crypto";

export interface Checksum {
  kind: "sha256" | "git-sha1";
  /** Lower case. */
  hex: string;
}

/** A checksum from its hex digits; undefined where there are not 64 or 40 of them. */
export function checksumOf(hex: string | undefined): Checksum | undefined {
  if (hex === undefined) return undefined;
  if (/^[0-9a-f]{64}$/i.test(hex)) return { kind: "sha256", hex: hex.toLowerCase() };
  if (/^[0-9a-f]{40}$/i.test(hex)) return { kind: "git-sha1", hex: hex.toLowerCase() };
  return undefined;
}

/** The checksum that an ETag is, as hubs have it: `"<hex>"`, also weak ones of a store in between. */
export function checksumOfEtag(etag: string | undefined): Checksum | undefined {
  return checksumOf(/^(?:W\/)?"?([0-9a-f]+)"?$/i.exec(etag?.trim() ?? "")?.[1]);
}

/** A running hash of that kind; git hashes a header with the size before the content. */
export function startHash(kind: Checksum["kind"], sizeBytes: number): Hash {
  if (kind === "sha256") return createHash("sha256");
  return createHash("sha1").update(`blob ${sizeBytes}\0`);
}
