/**
 * Hands ranges of large model files to the panel's page over a port of this machine, which is several times faster than VS Code's own way for
 * webview resources. Only listed files, only by range.
 */
import { type FileHandle, open } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { openLoopback } from "../loopback.ts";

export interface FileServer {
  readonly port: number;
  /** Path of a file's address, beginning with a slash. */
  pathOf(name: string): string;
  /** The page that may read the answers; until then none may. */
  allowOrigin(origin: string): void;
  close(): Promise<void>;
}

/** The longest range that is answered: it is held in memory. */
const MOST_RANGE_BYTES = 64 * 2 ** 20;

/** Serves these files of `folder` until it is closed. */
export async function serveFiles(folder: string, names: readonly string[]): Promise<FileServer> {
  const handles = new Map<string, Promise<FileHandle>>();
  const opened = (name: string): Promise<FileHandle> => {
    const handle = handles.get(name) ?? open(join(folder, name), "r");
    handles.set(name, handle);
    // A file that is gone may come back.
    handle.catch(() => handles.delete(name));
    return handle;
  };

  async function answer(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const handle = await opened(name);
    const { size } = await handle.stat();
    const range = rangeOf(request.headers.range, size);
    if (range === undefined) {
      response.writeHead(416, { "content-range": `bytes */${size}` }).end();
      return;
    }
    const bytes = Buffer.allocUnsafe(range.end - range.start);
    for (let done = 0; done < bytes.length;) {
      const { bytesRead } = await handle.read(bytes, done, bytes.length - done, range.start + done);
      if (bytesRead === 0) throw new Error(`${name} became shorter`);
      done += bytesRead;
    }
    response.writeHead(206, {
      "content-type": "application/octet-stream",
      "content-length": bytes.length,
      "content-range": `bytes ${range.start}-${range.end - 1}/${size}`,
    });
    response.end(bytes);
  }

  const loopback = await openLoopback({
    methods: ["GET"],
    headers: ["Range"],
    placeOf: (path) => names.find((name) => encodeURIComponent(name) === path),
    answer,
  });
  return {
    port: loopback.port,
    pathOf: (name) => `${loopback.base}/${encodeURIComponent(name)}`,
    allowOrigin: (origin) => loopback.allowOrigin(origin),
    async close() {
      await loopback.close();
      const open = await Promise.allSettled(handles.values());
      for (const handle of open) if (handle.status === "fulfilled") await handle.value.close();
    },
  };
}

/** One range with both ends, inside the file and not too long. */
function rangeOf(header: string | undefined, size: number): { start: number; end: number } | undefined {
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(header ?? "") ?? [];
  if (first === undefined || last === undefined) return undefined;
  const start = Number(first);
  const end = Number(last) + 1;
  return start < end && end <= size && end - start <= MOST_RANGE_BYTES ? { start, end } : undefined;
}
