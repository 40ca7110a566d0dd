/** Pages of prefixes over a port of this machine, for the panel's page: whole files in and out, as they lie on the disk. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { plainError } from "../../engine/errors.ts";
import type { PrefixName } from "../../engine/kv-cache/api.ts";
import { type LoopbackPort, openLoopback } from "../loopback.ts";
import type { PrefixFolder } from "./prefixFolder.ts";

/** A page that is read, or written with the time of its last use. */
interface Place {
  name: PrefixName;
  lastUsed: number | undefined;
}

/** The longest page there is: 256 tokens of a large model without shared heads, in 32 bits. */
const MOST_BYTES = 2 ** 30;

/**
 * GET <base>/<root>/<page>/<key> gives a page, PUT <base>/<root>/<page>/<key>/<ms since 1970> keeps one. What the disk refuses is answered with
 * 507 and told to `warn`.
 */
export async function servePrefixes(folder: PrefixFolder, warn: (message: string) => void): Promise<LoopbackPort> {
  async function answer({ name, lastUsed }: Place, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === "GET") return send(name, response);
    const bytes = Number(request.headers["content-length"] ?? NaN);
    if (lastUsed === undefined || !(bytes > 0) || bytes > MOST_BYTES) {
      response.writeHead(400).end();
      return;
    }
    try {
      await folder.writePieces(name, request, bytes, lastUsed);
      response.writeHead(204).end();
    } catch (error) {
      const { message } = plainError(error);
      warn(`prefix cache: ${message}`);
      response.writeHead(507, { "content-type": "text/plain; charset=utf-8" }).end(message);
    }
  }

  async function send(name: PrefixName, response: ServerResponse): Promise<void> {
    const opened = await folder.open(name);
    if (opened === undefined) {
      response.writeHead(404).end();
      return;
    }
    const { handle, bytes } = opened;
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes });
    // A megabyte at a time: the default of 64 KiB costs more than the disk does.
    await pipeline(handle.createReadStream({ start: 0, end: Math.max(0, bytes - 1), highWaterMark: 2 ** 20 }), response);
  }

  return openLoopback({ methods: ["GET", "PUT"], headers: ["Content-Type"], placeOf, answer });
}

function placeOf(path: string): Place | undefined {
  const [, root, page, key, lastUsed] = /^([0-9a-f]{32})\/(\d{1,9})\/([0-9a-f]{32})(?:\/(\d{1,15}))?$/.exec(path) ?? [];
  if (root === undefined || page === undefined || key === undefined) return undefined;
  return { name: { root, page: Number(page), key }, lastUsed: lastUsed === undefined ? undefined : Number(lastUsed) };
}
