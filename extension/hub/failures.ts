/** What went wrong with a hub, a connection or a disk, in one line with what to do about it. */
import type { IncomingHttpHeaders } from "node:http";
import { EngineError } from "../../engine/errors.ts";
import { type Hub, pageUrl } from "./hub.ts";

/** A failure that goes away by itself. */
export class PassingError extends EngineError {
  /** When the server wants to be asked again; undefined where it does not say. */
  readonly afterMs: number | undefined;

  constructor(error: EngineError, afterMs?: number) {
    super(error.code, error.message, error.remedy, error.facts);
    this.afterMs = afterMs;
  }
}

export interface BadAnswer {
  hub: Hub;
  /** What was asked for. */
  what: string;
  repository: string;
  status: number;
  headers: IncomingHttpHeaders;
}

const TOKEN = '"Long Context: Set Hub Token…"';
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The error behind an answer that is none; `x-error-code` says more than the status where the hub sends it. */
export function statusError(answer: BadAnswer): EngineError {
  const { hub, what, repository, status, headers } = answer;
  const said = headerText(headers, "x-error-message");
  const facts = { status, ...(said === "" ? {} : { said }) };
  const page = pageUrl(hub, repository);
  const code = headerText(headers, "x-error-code");
  if (code === "GatedRepo") return gatedError(hub, repository, status);
  if (status === 401) {
    return hub.token === undefined
      ? new EngineError(
          "hub-refused",
          `the hub does not show ${repository} without a login: it is private or gated, or there is none of this name`,
          `check the name at ${page}; for a private or gated model set a token with ${TOKEN}`,
          facts,
        )
      : new EngineError(
          "hub-refused",
          `the hub does not accept the token for ${repository}`,
          `set another token with ${TOKEN}`,
          facts,
        );
  }
  if (status === 403) {
    const because = said === "" ? "" : `: ${said}`;
    return new EngineError(
      "hub-refused",
      `the hub refuses ${what}${because}`,
      `check at ${page} who may read it, and what the token may read`,
      facts,
    );
  }
  if (status === 404 || status === 410) {
    if (code === "RevisionNotFound")
      return new EngineError(
        "not-found",
        `${repository} has no such revision`,
        `look at ${page}/tree/main which there are`,
        facts,
      );
    return new EngineError(
      "not-found",
      `the hub has no ${what}`,
      `check the name at ${page}; longContext.hub.url names the hub`,
      facts,
    );
  }
  if (PASSING.has(status)) {
    const busy = status === 429 ? "wants fewer requests" : "has a problem of its own";
    const afterMs = retryAfterMs(headers);
    const when = afterMs === undefined ? "in a few minutes" : `in ${Math.ceil(afterMs / 1000)} s`;
    const error = new EngineError(
      "hub-unreachable",
      `the hub ${busy} (${status}) when asked for ${what}`,
      `try again ${when}`,
      facts,
    );
    return new PassingError(error, afterMs);
  }
  return new EngineError(
    "hub-unreachable",
    `the hub answered ${status} when asked for ${what}`,
    "check longContext.hub.url",
    facts,
  );
}

/** The licence has to be accepted by a person, on the model's page. */
export function gatedError(hub: Hub, repository: string, status?: number): EngineError {
  const page = pageUrl(hub, repository);
  const token =
    hub.token === undefined ? `and set a token of that account with ${TOKEN}` : "with the account the token belongs to";
  return new EngineError("hub-refused", `${repository} is gated`, `accept its licence at ${page} ${token}`, {
    repository,
    ...(status === undefined ? {} : { status }),
  });
}

/** A connection that could not be made or broke; errors of our own and stops pass through. */
export function failedConnection(error: unknown, url: string, what: string): EngineError {
  if (error instanceof EngineError) return error;
  if (error instanceof Error && error.name === "AbortError") return stoppedError();
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const message = error instanceof Error ? error.message : String(error);
  const facts = { url, ...(code === "" ? {} : { code }) };
  if (/CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|ALTNAME/.test(code)) {
    return new EngineError(
      "hub-unreachable",
      `the certificate of ${url} is not trusted (${code})`,
      "let this machine trust your proxy's certificate, or turn http.proxyStrictSSL off if you know why it is not",
      facts,
    );
  }
  if (code === "ENOTFOUND" || code === "ECONNREFUSED") {
    return new EngineError(
      "hub-unreachable",
      `${url} cannot be reached (${code})`,
      "check the network, http.proxy and longContext.hub.url",
      facts,
    );
  }
  const broken = new EngineError(
    "hub-unreachable",
    `the connection to ${url} broke when asked for ${what} (${message})`,
    "try again; what was downloaded is kept",
    facts,
  );
  return new PassingError(broken);
}

/** A disk that does not take what is written to it. */
export function failedDisk(error: unknown, path: string): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const facts = { path, code };
  if (code === "ENOSPC" || code === "EDQUOT")
    return new EngineError(
      "storage-failed",
      `the disk is full: ${path} could not be written`,
      "free some space, then resume; what was downloaded is kept",
      facts,
    );
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new EngineError(
      "storage-failed",
      `${path} must not be written (${code})`,
      "check who may write to this folder",
      facts,
    );
  if (code === "ENAMETOOLONG" || code === "EIO")
    return new EngineError("storage-failed", `${path} could not be written (${code})`, "check the disk", facts);
  return error;
}

export function stoppedError(): EngineError {
  return new EngineError("aborted", "the download was stopped", "resume it from the Models view; what was downloaded is kept");
}

/** Milliseconds of a Retry-After, which is a number of seconds or a date. */
export function retryAfterMs(headers: IncomingHttpHeaders, now = Date.now()): number | undefined {
  const text = headers["retry-after"]?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return 1000 * Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** A header on one line, and short: a server wrote it. */
function headerText(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return ((Array.isArray(value) ? value[0] : value) ?? "")
    .replaceAll(/[\u0000-\u001f\u007f]+/g, " ")
    .trim()
    .slice(0, 200);
}
