import { readFile, realpath } from "node:fs/promises";
import { EngineError } from "../../engine/errors.ts";
import { absolutePath, insideOf, type Root } from "../server/roots.ts";
import { decodeTextFile } from "../server/textFile.ts";

/** Absolute path of an existing file of the workspace; links that lead out of it are refused with `not-found`. */
export async function workspaceFile(roots: readonly Root[], path: string): Promise<string> {
  const absolute = absolutePath(roots, path);
  const real = await realpath(absolute).catch(() => undefined);
  if (real === undefined)
    throw new EngineError("not-found", `${path} is gone`, "ask again, so that the answer is about the files of now", { path });
  for (const root of roots) {
    const realRoot = await realpath(root.folder).catch(() => root.folder);
    if (insideOf(realRoot, real) !== undefined) return absolute;
  }
  throw new EngineError("not-found", `${path} leads out of the workspace`, "open the folder that contains it", { path });
}

/** The text of a snapshot file as UTF-8, as it is counted; throws `not-found` where the bytes are not the ones that were hashed. */
export async function readSnapshotFile(roots: readonly Root[], path: string, hash: string): Promise<ArrayBuffer> {
  const text = decodeTextFile(await readFile(await workspaceFile(roots, path)), path);
  if ("utf8" in text && text.hash === hash) return new Uint8Array(text.utf8).buffer;
  throw new EngineError("not-found", `${path} changed since it was counted`, "ask again", { path });
}
