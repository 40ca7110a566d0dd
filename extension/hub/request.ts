/**
 * One GET or HEAD to a hub, with its redirects. Through Node's own http and https, because those are what VS Code makes honour its proxy
 * settings (http.proxy, http.noProxy, HTTPS_PROXY) in the extension host.
 */
import * as http from "node:http";
import * as https from "node:https";
import { EngineError } from "../../engine/errors.ts";
import { failedConnection, statusError } from "./failures.ts";
import type { Hub } from "./hub.ts";

export interface RequestOptions {
  method?: "GET" | "HEAD";
  headers?: Readonly<Record<string, string>>;
  /** What is asked for, in errors: "org/name" or "config.json of org/name". */
  what: string;
  /** Repository the request is about, for remedies. */
  repository: string;
  /** Statuses beside 2xx that are an answer to this request. */
  allow?: readonly number[];
  /** Only redirects within the hub are followed: an answer of another host tells nothing about the file. */
  stayOnHub?: boolean;
  signal?: AbortSignal;
}

export interface HubAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Of the last answer that the hub itself gave: a store that it redirects to knows neither checksum nor commit. */
  readonly hubHeaders: http.IncomingHttpHeaders;
  /** Must be read or destroyed. */
  readonly body: http.IncomingMessage;
}

const MOST_REDIRECTS = 5;

/**
 * Asks the hub for `path`. Throws `hub-offline` before anything is opened where the user wants no network, `hub-refused`, `not-found` or
 * `hub-unreachable` for what else came, and `aborted`.
 */
export async function hubRequest(hub: Hub, path: string, options: RequestOptions): Promise<HubAnswer> {
  if (hub.offline) {
    throw new EngineError(
      "hub-offline",
      `${options.what} was not asked for: longContext.hub.offline keeps this extension from the network`,
      "turn longContext.hub.offline off, or add the model from a folder",
    );
  }
  let url = new URL(hub.url + path);
  const hubOrigin = url.origin;
  checkToken(hub, url);
  let hubHeaders: http.IncomingHttpHeaders = {};
  for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
    const atHub = url.origin === hubOrigin;
    const answer = await send(hub, url, options, atHub);
    const status = answer.statusCode ?? 0;
    if (atHub) hubHeaders = answer.headers;
    const next = isRedirect(status) ? redirectTarget(url, answer, options) : undefined;
    if (next !== undefined && !(options.stayOnHub && next.origin !== hubOrigin)) {
      answer.resume();
      url = next;
      continue;
    }
    const good = (status >= 200 && status < 300) || next !== undefined || options.allow?.includes(status);
    if (good) return { status, headers: answer.headers, hubHeaders, body: answer };
    answer.resume();
    throw statusError({ hub, what: options.what, repository: options.repository, status, headers: answer.headers });
  }
  throw new EngineError("hub-unreachable", `the hub redirects ${options.what} in circles`, "check longContext.hub.url", {
    hops: MOST_REDIRECTS,
  });
}

/** The whole body as text; throws `hub-unreachable` where it is longer than `mostBytes` or ends early. */
export async function hubText(hub: Hub, path: string, options: RequestOptions, mostBytes: number): Promise<string> {
  const { body } = await hubRequest(hub, path, options);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > mostBytes) throw tooLong(options.what, mostBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    throw failedConnection(error, hub.url, options.what);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function send(hub: Hub, url: URL, options: RequestOptions, atHub: boolean): Promise<http.IncomingMessage> {
  const headers = {
    "user-agent": "long-context-playground",
    // Sizes and ranges are those of the file, not of something compressed.
    "accept-encoding": "identity",
    ...options.headers,
    // The token is the hub's; a store that it redirects to has its own signature in the address.
    ...(atHub && hub.token !== undefined ? { authorization: `Bearer ${hub.token}` } : {}),
  };
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => reject(failedConnection(error, url.origin, options.what));
    try {
      const common = { method: options.method ?? "GET", headers, signal: options.signal };
      const sent =
        url.protocol === "https:"
          ? https.request(url, { ...common, rejectUnauthorized: hub.strictSsl })
          : http.request(url, common);
      let answer: http.IncomingMessage | undefined;
      sent.setTimeout(hub.idleMs, () => (answer ?? sent).destroy(new Error(`no answer for ${hub.idleMs / 1000} s`)));
      sent.once("response", (response) => {
        answer = response;
        resolve(response);
      });
      sent.once("error", fail);
      sent.end();
    } catch (error) {
      // An aborted signal and a header with forbidden characters are thrown, not emitted.
      fail(error);
    }
  });
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

function redirectTarget(from: URL, answer: http.IncomingMessage, { what }: RequestOptions): URL {
  const { location = "" } = answer.headers;
  const refuse = (because: string): EngineError => {
    answer.resume();
    return new EngineError("hub-refused", `the hub redirects ${what} ${because}`, "check longContext.hub.url");
  };
  if (location === "" || !URL.canParse(location, from.href)) throw refuse("to nowhere");
  const to = new URL(location, from);
  if (to.protocol !== "https:" && to.protocol !== "http:") throw refuse(`to an address of the kind ${to.protocol}`);
  if (from.protocol === "https:" && to.protocol === "http:") throw refuse("to an unencrypted address");
  return to;
}

/** Over plain HTTP anybody on the way could read the token; on this machine there is no way. */
function checkToken(hub: Hub, url: URL): void {
  if (hub.token === undefined || url.protocol === "https:" || isLoopback(url.hostname)) return;
  throw new EngineError(
    "hub-refused",
    `the token is not sent to ${hub.url}, which is not encrypted`,
    'use an https address in longContext.hub.url, or remove the token with "Long Context: Set Hub Token…"',
  );
}

export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

function tooLong(what: string, mostBytes: number): EngineError {
  return new EngineError(
    "hub-unreachable",
    `the hub's answer about ${what} is longer than ${mostBytes} bytes`,
    "check longContext.hub.url",
    {
      mostBytes,
    },
  );
}
