/** GGUF models that gguf-split cut up: `name-00001-of-00003.gguf` and so on; the first part is the one that is opened. */

const PART = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;

/** Names of all parts of the model that `name` begins; just `name` for a whole file, undefined for a later part. */
export function ggufParts(name: string): string[] | undefined {
  const [, stem, part, total] = PART.exec(name) ?? [];
  if (stem === undefined || part === undefined || total === undefined) return [name];
  if (Number(part) !== 1 || Number(total) < 1) return undefined;
  return Array.from({ length: Number(total) }, (_, index) => `${stem}-${String(index + 1).padStart(5, "0")}-of-${total}.gguf`);
}

/** Name of the first part of the model that `name` is a part of. */
export function firstPart(name: string): string {
  return name.replace(PART, "$1-00001-of-$3.gguf");
}
