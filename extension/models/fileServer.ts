/**
 * Hands ranges of large model files to the panel's page over HTTP on 127.0.0.1, which is several times faster than VS Code's own way for
 * webview resources. Only who knows the unguessable path gets anything, only listed files, only by range.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";

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
const TOKEN_BYTES = 32;

/** Serves these files of `folder` until it is closed. */
export async function serveFiles(folder: string, names: readonly string[]): Promise<FileServer> {
  const token = randomBytes(TOKEN_BYTES).toString("base64url");
  const handles = new Map<string, Promise<FileHandle>>();
  let origin: string | undefined;
  const opened = (name: string): Promise<FileHandle> => {
    const handle = handles.get(name) ?? open(join(folder, name), "r");
    handles.set(name, handle);
    // A file that is gone may come back.
    handle.catch(() => handles.delete(name));
    return handle;
  };
  const server = createServer((request, response) => {
    for (const [header, value] of Object.entries(headersFor(request, origin))) response.setHeader(header, value);
    answer(request, response).catch(() => {
      if (response.headersSent) response.destroy();
      else response.writeHead(404).end();
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = nameIn(request.url ?? "", token, names);
    if (name === undefined) {
      response.writeHead(404).end();
      return;
    }
    if (request.method === "OPTIONS") {
      response.writeHead(204).end();
      return;
    }
    if (request.method !== "GET") {
      response.writeHead(405, { allow: "GET, OPTIONS" }).end();
      return;
    }
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

  const port = await new Promise<number>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (typeof address === "object" && address !== null) resolve(address.port);
      else reject(new Error("the server has no port"));
    });
  });
  return {
    port,
    pathOf: (name) => `/${token}/${encodeURIComponent(name)}`,
    allowOrigin(allowed) {
      origin = allowed;
    },
    async close() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
      const open = await Promise.allSettled(handles.values());
      for (const handle of open) if (handle.status === "fulfilled") await handle.value.close();
    },
  };
}

/** The listed file that an address names, where it begins with the token. */
function nameIn(url: string, token: string, names: readonly string[]): string | undefined {
  const [, given = "", encoded = ""] = /^\/([^/?#]+)\/([^/?#]+)$/.exec(url) ?? [];
  const right = Buffer.from(token);
  const guess = Buffer.from(given);
  if (guess.length !== right.length || !timingSafeEqual(guess, right)) return undefined;
  return names.find((name) => encodeURIComponent(name) === encoded);
}

/** One range with both ends, inside the file and not too long. */
function rangeOf(header: string | undefined, size: number): { start: number; end: number } | undefined {
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(header ?? "") ?? [];
  if (first === undefined || last === undefined) return undefined;
  const start = Number(first);
  const end = Number(last) + 1;
  return start < end && end <= size && end - start <= MOST_RANGE_BYTES ? { start, end } : undefined;
}

function headersFor(request: IncomingMessage, origin: string | undefined): Record<string, string> {
  const headers: Record<string, string> = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
    vary: "Origin",
  };
  if (origin === undefined || request.headers.origin !== origin) return headers;
  headers["access-control-allow-origin"] = origin;
  headers["access-control-allow-methods"] = "GET";
  headers["access-control-allow-headers"] = "Range";
  headers["access-control-max-age"] = "600";
  // A page of an address that Chromium counts as public asks for this before it may reach this machine.
  headers["access-control-allow-private-network"] = "true";
  return headers;
}
