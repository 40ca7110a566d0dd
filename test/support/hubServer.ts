/**
 * A hub on 127.0.0.1 that speaks the part of huggingface.co's API that is used: /api/models/<id>/revision/<revision>, and
 * /<id>/resolve/<revision>/<file>, which redirects files in LFS to a store of another origin. Faults can be switched on per path.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface ServedRepository {
  files: Readonly<Record<string, string | Uint8Array>>;
  /** Branches and tags beside the commit itself; "main" always is one. */
  revisions?: readonly string[];
  license?: string;
  gated?: false | "auto" | "manual";
  /** Needed to read the files of a gated or private repository. */
  token?: string;
  /** Without a listing of sizes and checksums, as on plain mirrors. */
  bare?: boolean;
  modelType?: string;
}

/** What goes wrong, for requests whose path (with its query) matches. */
export interface Fault {
  on: RegExp;
  /** How often; always where it is not said. */
  times?: number;
  /** Answer with this status instead. */
  status?: number;
  headers?: Readonly<Record<string, string>>;
  /** Close the connection after so many bytes of the body. */
  truncateAt?: number;
  /** Turn the bits of this byte of the file. */
  corruptAt?: number;
  /** Send the whole file, whatever range is asked for. */
  noRange?: boolean;
  /** Say that no range can be had. */
  noSuchRange?: boolean;
  /** Bytes per second, in pieces of a twentieth of that. */
  bytesPerSecond?: number;
  /** Say another commit than was asked for. */
  commit?: string;
  /** Send more than the file has. */
  extraBytes?: number;
}

export interface SeenRequest {
  method: string;
  /** With the host where it was asked as a proxy is. */
  url: string;
  path: string;
  range: string | undefined;
  authorization: string | undefined;
  /** At the store, not at the hub itself. */
  store: boolean;
}

export interface HubServer {
  readonly url: string;
  readonly storeUrl: string;
  readonly requests: readonly SeenRequest[];
  /** Connections that were opened, to the hub or its store. */
  readonly connections: number;
  readonly faults: Fault[];
  close(): Promise<void>;
}

/** Files of a folder, as a repository has them. */
export function filesOfFolder(folder: string): Record<string, Uint8Array> {
  const names = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(names.map(({ name }) => [name, readFileSync(join(folder, name))]));
}

/** The commit that `main` of a repository is. */
export function commitOf(id: string): string {
  return createHash("sha1").update(id).digest("hex");
}

export async function startHubServer(repositories: Readonly<Record<string, ServedRepository>>): Promise<HubServer> {
  const requests: SeenRequest[] = [];
  const faults: Fault[] = [];
  let connections = 0;
  let storeUrl = "";
  const faultFor = (path: string): Fault | undefined => {
    const found = faults.find(({ on, times = 1 }) => on.test(path) && times > 0);
    if (found?.times !== undefined) found.times--;
    return found;
  };
  const seen = (request: IncomingMessage, store: boolean): URL => {
    const url = new URL(request.url ?? "/", "http://hub.test");
    const { range, authorization } = request.headers;
    requests.push({
      method: request.method ?? "",
      url: request.url ?? "",
      path: url.pathname + url.search,
      range,
      authorization,
      store,
    });
    return url;
  };
  const hub = listening((request, response) => {
    const url = seen(request, false);
    const fault = faultFor(url.pathname + url.search);
    const hubbed = answerOf(repositories, url, request, storeUrl);
    return send(request, response, fault, hubbed);
  });
  const store = listening((request, response) => {
    const url = seen(request, true);
    const fault = faultFor(url.pathname + url.search);
    const body = [...allFiles(repositories)].find((file) => `/${sha256(file)}` === url.pathname);
    // A store has ETags of its own, which say nothing about the file.
    return send(
      request,
      response,
      fault,
      body ? { status: 200, headers: { etag: `"store-${url.pathname.slice(1, 9)}"` }, body } : notFound(),
    );
  });
  for (const { server } of [hub, store]) server.on("connection", () => connections++);
  const hubUrl = `http://127.0.0.1:${await hub.ready}`;
  // Another name of this machine is another origin.
  storeUrl = `http://localhost:${await store.ready}`;
  return {
    url: hubUrl,
    storeUrl,
    requests,
    get connections() {
      return connections;
    },
    faults,
    close: async () => {
      await Promise.all([hub.close(), store.close()]);
    },
  };
}

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: Uint8Array;
}

function answerOf(
  repositories: Readonly<Record<string, ServedRepository>>,
  url: URL,
  request: IncomingMessage,
  storeUrl: string,
): Answer {
  const [, listed, listedRevision = ""] = /^\/api\/models\/(.+)\/revision\/([^/]+)$/.exec(url.pathname) ?? [];
  const [, fileOf, fileRevision = "", path = ""] = /^\/((?!api\/).+?)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname) ?? [];
  const id = listed ?? fileOf;
  const repository = id === undefined ? undefined : repositories[id];
  if (id === undefined || repository === undefined) return notFound("RepoNotFound");
  const authorized = repository.token === undefined || request.headers.authorization === `Bearer ${repository.token}`;
  const revision = decodeURIComponent(listed === undefined ? fileRevision : listedRevision);
  const known = [commitOf(id), "main", ...(repository.revisions ?? [])];
  // A gated repository shows what it has to everybody, and its files to nobody without a token.
  if (!authorized && (listed === undefined || !repository.gated))
    return unauthorized(repository.gated === undefined ? undefined : "GatedRepo");
  if (!known.includes(revision)) return notFound("RevisionNotFound");
  if (listed !== undefined) return { ...json(listing(id, repository, url.searchParams.get("blobs") === "true")) };
  const name = decodeURIComponent(path);
  const content = Object.hasOwn(repository.files, name) ? repository.files[name] : undefined;
  if (content === undefined) return notFound("EntryNotFound");
  const body = bytesOf(content);
  const headers = { "x-repo-commit": commitOf(id) };
  if (!isLfs(name)) return { status: 200, headers: { ...headers, etag: `"${gitSha1(body)}"` }, body };
  const linked = { "x-linked-size": String(body.length), "x-linked-etag": `"${sha256(body)}"` };
  const location = `${storeUrl}/${sha256(body)}?signature=secret`;
  return { status: 302, headers: { ...headers, ...linked, location }, body: new Uint8Array() };
}

function listing(id: string, repository: ServedRepository, blobs: boolean): unknown {
  const siblings = Object.entries(repository.files).map(([rfilename, content]) => {
    const body = bytesOf(content);
    if (!blobs || repository.bare) return { rfilename };
    const lfs = { sha256: sha256(body), size: body.length, pointerSize: 134 };
    return isLfs(rfilename)
      ? { rfilename, size: body.length, blobId: gitSha1(new TextEncoder().encode(lfs.sha256)), lfs }
      : { rfilename, size: body.length, blobId: gitSha1(body) };
  });
  return {
    _id: "0",
    id,
    modelId: id,
    sha: commitOf(id),
    private: false,
    gated: repository.gated ?? false,
    disabled: false,
    tags: ["safetensors", ...(repository.license === undefined ? [] : [`license:${repository.license}`])],
    cardData: repository.license === undefined ? {} : { license: repository.license },
    config: repository.modelType === undefined ? {} : { model_type: repository.modelType },
    siblings,
  };
}

async function send(request: IncomingMessage, response: ServerResponse, fault: Fault | undefined, answer: Answer): Promise<void> {
  if (fault?.status !== undefined) {
    response.writeHead(fault.status, fault.headers ?? {}).end("no");
    return;
  }
  const commit = fault?.commit === undefined ? {} : { "x-repo-commit": fault.commit };
  const headers = { ...answer.headers, ...commit, ...fault?.headers };
  const whole = spoiled(answer.body, fault);
  const range = fault?.noRange || answer.status !== 200 ? undefined : rangeOf(request, whole.length);
  if (fault?.noSuchRange || range === "none") {
    response.writeHead(416, { "content-range": `bytes */${whole.length}` }).end();
    return;
  }
  const body = range ? whole.subarray(range.start, range.end) : whole;
  const place = range ? { "content-range": `bytes ${range.start}-${range.end - 1}/${whole.length}` } : {};
  const length = { "content-length": String(body.length), "accept-ranges": fault?.noRange ? "none" : "bytes" };
  response.writeHead(range ? 206 : answer.status, { ...headers, ...place, ...length });
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  const end = Math.min(body.length, fault?.truncateAt ?? Infinity);
  response.flushHeaders();
  const slow = fault?.bytesPerSecond;
  const piece = slow === undefined ? 65_536 : Math.max(1, Math.ceil(slow / 20));
  for (let at = 0; at < end && !response.destroyed; at += piece) {
    if (slow !== undefined) await sleep((1000 * piece) / slow, undefined, { ref: false });
    response.write(body.subarray(at, Math.min(end, at + piece)));
  }
  if (end < body.length) {
    // What was written is on its way; closing at once could take it back.
    await sleep(50);
    response.destroy();
  } else response.end();
}

function spoiled(body: Uint8Array, fault: Fault | undefined): Uint8Array {
  if (fault?.corruptAt === undefined && fault?.extraBytes === undefined) return body;
  const changed = new Uint8Array(body.length + (fault.extraBytes ?? 0));
  changed.set(body);
  if (fault.corruptAt !== undefined) changed[fault.corruptAt] = 255 - (changed[fault.corruptAt] ?? 0);
  return changed;
}

/** "none" where the range begins behind the end. */
function rangeOf(request: IncomingMessage, length: number): { start: number; end: number } | "none" | undefined {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  if (first === undefined) return undefined;
  if (Number(first) >= length) return "none";
  return { start: Number(first), end: last ? Math.min(length, Number(last) + 1) : length };
}

function listening(handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>) {
  const server: Server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  const ready = new Promise<number>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address ? address.port : 0);
    });
  });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { server, ready, close };
}

function* allFiles(repositories: Readonly<Record<string, ServedRepository>>): Generator<Uint8Array> {
  for (const { files } of Object.values(repositories)) for (const content of Object.values(files)) yield bytesOf(content);
}

function isLfs(name: string): boolean {
  return /\.(safetensors|gguf|bin)$/.test(name);
}

function bytesOf(content: string | Uint8Array): Uint8Array {
  return typeof content === "string" ? new TextEncoder().encode(content) : content;
}

function sha256(body: Uint8Array): string {
  return createHash("sha256").update(body).digest("hex");
}

function gitSha1(body: Uint8Array): string {
  return createHash("sha1").update(`blob ${body.length}\0`).update(body).digest("hex");
}

function json(value: unknown): Answer {
  return { status: 200, headers: { "content-type": "application/json" }, body: new TextEncoder().encode(JSON.stringify(value)) };
}

function notFound(code?: string): Answer {
  return {
    status: 404,
    headers: code === undefined ? {} : { "x-error-code": code },
    body: new TextEncoder().encode("Not Found"),
  };
}

function unauthorized(code?: string): Answer {
  return {
    status: 401,
    headers: code === undefined ? {} : { "x-error-code": code },
    body: new TextEncoder().encode("Unauthorized"),
  };
}
