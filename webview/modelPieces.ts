/** A model folder whose bytes come over a wire, in pieces. */
import type { ByteSource, ModelFiles } from "../engine/api.ts";
import type { EngineCalls } from "./protocol/worker.ts";

export type ListedModel = Pick<EngineCalls["engine/open"]["params"], "label" | "ggufName" | "files">;

/** Exactly those bytes of a listed file. */
export type ReadPiece = (name: string, offset: number, length: number, signal?: AbortSignal) => Promise<ArrayBuffer>;

export function listedModelFiles({ label, ggufName, files }: ListedModel, readPiece: ReadPiece): ModelFiles {
  const open = (name: string): ByteSource | undefined => {
    const file = files.find((candidate) => candidate.name === name);
    if (!file) return undefined;
    const { sizeBytes: size, pieceBytes } = file;
    return { name, size, read: (offset, length, signal) => readPieces(readPiece, file.name, pieceBytes, offset, length, signal) };
  };
  return {
    label,
    ggufName,
    open: async (name) => open(name),
    text: async (name) => {
      const source = open(name);
      return source && new TextDecoder().decode(await source.read(0, source.size));
    },
  };
}

/** In pieces that are large enough to amortise a request, and small enough to keep the page responsive. */
async function readPieces(
  readPiece: ReadPiece,
  name: string,
  pieceBytes: number,
  offset: number,
  length: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  if (length <= pieceBytes) return new Uint8Array(await readPiece(name, offset, length, signal));
  const whole = new Uint8Array(length);
  for (let done = 0; done < length; done += pieceBytes) {
    whole.set(new Uint8Array(await readPiece(name, offset + done, Math.min(pieceBytes, length - done), signal)), done);
  }
  return whole;
}
