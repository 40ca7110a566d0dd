import { open, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ByteSource, ModelFiles } from "../../engine/api.ts";
import { EngineError, throwIfAborted } from "../../engine/errors.ts";
import { isGgufPath, modelLabel } from "./location.ts";

/** A model folder or a GGUF file, read with Node's file system. Close it when the model is loaded or given up. */
export function nodeModelFiles(path: string): ModelFiles & { close(): Promise<void> } {
  const closers: (() => Promise<void>)[] = [];
  const isGguf = isGgufPath(path);
  const folder = isGguf ? dirname(path) : path;
  return {
    label: modelLabel(path),
    ggufName: isGguf ? basename(path) : undefined,
    async text(name) {
      try {
        return await readFile(join(folder, name), "utf8");
      } catch (error) {
        absentOrThrow(error);
        return;
      }
    },
    async open(name): Promise<ByteSource | undefined> {
      try {
        const handle = await open(join(folder, name), "r");
        closers.push(() => handle.close());
        const { size } = await handle.stat();
        return {
          name,
          size,
          async read(offset, length, signal) {
            throwIfAborted(signal);
            const bytes = new Uint8Array(length);
            for (let done = 0; done < length;) {
              const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
              if (bytesRead === 0) throw tooShort(name, offset + length, size);
              done += bytesRead;
            }
            return bytes;
          },
        };
      } catch (error) {
        absentOrThrow(error);
        return;
      }
    },
    async close() {
      await Promise.all(closers.splice(0).map((close) => close()));
    },
  };
}

function absentOrThrow(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}

function tooShort(name: string, needBytes: number, haveBytes: number): EngineError {
  return new EngineError("bad-weights", `${name} ends before byte ${needBytes}`, "download the file again", {
    needBytes,
    haveBytes,
  });
}
