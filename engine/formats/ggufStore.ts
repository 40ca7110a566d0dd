/** The tensors of GGUF files, by their names in the files, as a `WeightStore`. */
import type { ByteSource, ModelFiles, TensorFormat } from "../api.ts";
import { EngineError } from "../errors.ts";
import { type GgufHeader, type GgufTensor, readGguf } from "./gguf.ts";
import { LAYOUTS } from "./layouts.ts";
import { type NamedStore, placedStore, type PlacedTensor } from "./tensorStore.ts";

/** A model in GGUF: the metadata of its (first) file and the tensors of all. */
export interface GgufFile {
  readonly header: GgufHeader;
  readonly store: NamedStore;
}

/**
 * Opens a GGUF model; only headers are read. A model that gguf-split cut up (`name-00001-of-00003.gguf`, `split.count` in the
 * metadata) is opened by its first file. Throws `not-found` where `name` is missing, `weights-missing` for another of its files,
 * and `bad-weights` for a damaged one.
 */
export async function openGguf(files: ModelFiles, name: string, signal?: AbortSignal): Promise<GgufFile> {
  const source = await files.open(name);
  if (source === undefined) {
    const message = `${files.label} has no ${name}`;
    throw new EngineError("not-found", message, "choose a GGUF file that exists", { file: name });
  }
  const header = await readGguf(source, signal);
  const tensors = new Map(placed(source, header));
  for (const otherName of otherParts(name, header)) {
    const other = await files.open(otherName);
    if (other === undefined) {
      const message = `${files.label} has no ${otherName}, which belongs to ${name}`;
      throw new EngineError("weights-missing", message, `download ${otherName} as well`, { file: otherName });
    }
    for (const [tensorName, tensor] of placed(other, await readGguf(other, signal))) {
      if (tensors.has(tensorName)) throw bad(otherName, `has tensor ${tensorName}, which another part has too`);
      tensors.set(tensorName, tensor);
    }
  }
  return { header, store: placedStore(tensors) };
}

/** Most parts a model may be cut into; the largest published ones have about a hundred. */
const MAX_PARTS = 1000;

function otherParts(name: string, { metadata }: GgufHeader): string[] {
  const count = metadata.get("split.count") ?? 0;
  if (typeof count !== "number" || !Number.isInteger(count) || count < 0 || count > MAX_PARTS) {
    throw bad(name, `states ${String(count)} parts`);
  }
  if (count <= 1) return [];
  const [, stem, part, total] = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(name) ?? [];
  if (stem === undefined || Number(total) !== count) throw bad(name, `is one of ${count} parts and is not named as such`);
  if (Number(part) !== 1) {
    const first = `${stem}-00001-of-${total}.gguf`;
    throw new EngineError("bad-weights", `${name} is not the first part of its model`, `choose ${first}`, { file: name });
  }
  return Array.from({ length: count - 1 }, (_, index) => `${stem}-${String(index + 2).padStart(5, "0")}-of-${total}.gguf`);
}

function placed(source: ByteSource, header: GgufHeader): [string, PlacedTensor][] {
  return [...header.tensors].map(([name, tensor]) => [
    name,
    { source, shape: tensor.shape, format: formatOf(tensor), begin: tensor.begin },
  ]);
}

function formatOf({ type }: GgufTensor): PlacedTensor["format"] {
  const name = type.toLowerCase();
  return isFormat(name) ? name : { unknown: type };
}

function isFormat(name: string): name is TensorFormat {
  return Object.hasOwn(LAYOUTS, name);
}

function bad(file: string, what: string): EngineError {
  return new EngineError("bad-weights", `${file} ${what}`, "download the file again; this copy is damaged or incomplete", {
    file,
  });
}
