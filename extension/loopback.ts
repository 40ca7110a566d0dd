/**
 * HTTP on 127.0.0.1 for one page of the panel, which moves large bytes several times faster than messages and webview resources do. Only who
 * knows the unguessable path gets anything, and only the page that was named may read the answers.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

export interface LoopbackPort {
  readonly port: number;
  /** Beginning of every path, with a slash in front and none behind. */
  readonly base: string;
  /** The page that may read the answers; until then none may. */
  allowOrigin(origin: string): void;
  close(): Promise<void>;
}

export interface LoopbackSite<Place> {
  /** What is answered, beside OPTIONS. */
  methods: readonly ("GET" | "PUT")[];
  /** Request headers a page of another origin may send. */
  headers: readonly string[];
  /** What a path behind the base names; undefined is not there. */
  placeOf(path: string): Place | undefined;
  /** A throw before the head of the answer is "not found", later it ends the connection. */
  answer(place: Place, request: IncomingMessage, response: ServerResponse): Promise<void>;
}

const TOKEN_BYTES = 32;

/** Listens until it is closed. */
export async function openLoopback<Place>(site: LoopbackSite<Place>): Promise<LoopbackPort> {
  const token = randomBytes(TOKEN_BYTES).toString("base64url");
  let origin: string | undefined;
  const server = createServer((request, response) => {
    for (const [header, value] of Object.entries(headersFor(request, origin, site))) response.setHeader(header, value);
    answer(request, response).catch(() => {
      if (response.headersSent) response.destroy();
      else response.writeHead(404).end();
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = pathBehind(request.url ?? "", token);
    const place = path === undefined ? undefined : site.placeOf(path);
    if (place === undefined) response.writeHead(404).end();
    else if (request.method === "OPTIONS") response.writeHead(204).end();
    else if (!site.methods.some((method) => method === request.method))
      response.writeHead(405, { allow: [...site.methods, "OPTIONS"].join(", ") }).end();
    else await site.answer(place, request, response);
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
    base: `/${token}`,
    allowOrigin(allowed) {
      origin = allowed;
    },
    async close() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** What follows the token in an address that begins with it, without a query. */
function pathBehind(url: string, token: string): string | undefined {
  const [, given = "", path] = /^\/([^/?#]+)\/([^?#]+)$/.exec(url) ?? [];
  const right = Buffer.from(token);
  const guess = Buffer.from(given);
  return guess.length === right.length && timingSafeEqual(guess, right) ? path : undefined;
}

function headersFor(
  request: IncomingMessage,
  origin: string | undefined,
  { methods, headers: allowed }: LoopbackSite<unknown>,
): Record<string, string> {
  const headers: Record<string, string> = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
    vary: "Origin",
  };
  if (origin === undefined || request.headers.origin !== origin) return headers;
  headers["access-control-allow-origin"] = origin;
  headers["access-control-allow-methods"] = methods.join(", ");
  headers["access-control-allow-headers"] = allowed.join(", ");
  headers["access-control-max-age"] = "600";
  // A page of an address that Chromium counts as public asks for this before it may reach this machine.
  headers["access-control-allow-private-network"] = "true";
  return headers;
}
