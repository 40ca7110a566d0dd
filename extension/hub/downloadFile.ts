/** One file of a repository onto the disk: resumed where it stopped, and renamed into place only when its checksum is right. */
import type { Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EngineError } from "../../engine/errors.ts";
import { type Checksum, startHash } from "./checksum.ts";
import { failedConnection, failedDisk, PassingError, stoppedError } from "./failures.ts";
import { storedPath } from "./fileName.ts";
import { type Hub, pageUrl } from "./hub.ts";
import { filePath, type HubFile, statedDetails } from "./repository.ts";
import { type HubAnswer, hubRequest } from "./request.ts";
import { withRetries } from "./retry.ts";

export interface FileDownload {
  repository: string;
  commit: string;
  file: HubFile;
  /** Folder of the model; the file may lie in a folder below it, as in the repository. */
  folder: string;
  signal?: AbortSignal;
  /** Bytes of this file that are on the disk now. */
  onBytes?: (bytes: number) => void;
}

/** Less than this between two broken connections is no progress. */
const PROGRESS_BYTES = 2 ** 20;

/**
 * Downloads one file; what is there already is kept. Throws what `hubRequest` throws, `download-damaged` (the file is deleted then),
 * `storage-failed` and `aborted`; whatever of the file is good stays for the next time.
 */
export async function downloadFile(hub: Hub, download: FileDownload): Promise<void> {
  const target = storedPath(download.folder, download.file.name);
  try {
    const present = await sizeOf(target);
    if (present !== undefined && present === (download.file.sizeBytes ?? present)) return;
    await mkdir(dirname(target), { recursive: true });
    const part = partPath(download);
    await removeStaleParts(target, part);
    let before = (await sizeOf(part)) ?? 0;
    const resumed = before > 0;
    const progressed = (): boolean => {
      const gained = reached - before >= PROGRESS_BYTES;
      before = reached;
      return gained;
    };
    let reached = before;
    const once = (): Promise<boolean> =>
      fetchInto(hub, download, part, (bytes) => {
        reached = bytes;
        download.onBytes?.(bytes);
      });
    if (!(await withRetries(hub, download.signal, once, progressed))) {
      // A part of before may be what is wrong; what has come whole just now is not.
      await rm(part, { force: true });
      if (!resumed || !(await withRetries(hub, download.signal, once, progressed))) {
        await rm(part, { force: true });
        throw damaged(hub, download);
      }
    }
    await rename(part, target);
  } catch (error) {
    throw failedDisk(error, target);
  }
}

/** Where an unfinished file lies; named by its content, so that a part of another content is never taken for it. */
export function partPath({ folder, file, commit }: Pick<FileDownload, "folder" | "file" | "commit">): string {
  return `${storedPath(folder, file.name)}.${(file.checksum?.hex ?? commit).slice(0, 16)}.part`;
}

/** Appends to `part` what is missing; whether the whole has the right checksum then. */
async function fetchInto(hub: Hub, download: FileDownload, part: string, onBytes: (bytes: number) => void): Promise<boolean> {
  const { repository, commit, file, signal } = download;
  const what = `${file.name} of ${repository}`;
  let have = (await sizeOf(part)) ?? 0;
  if (file.sizeBytes !== undefined && have > file.sizeBytes) {
    await rm(part);
    have = 0;
  }
  onBytes(have);
  if (have > 0 && have === file.sizeBytes && file.checksum !== undefined) return hashOf(part, file.checksum, have, signal);

  const answer = await hubRequest(hub, filePath(repository, commit, file.name), {
    what,
    repository,
    signal,
    headers: have > 0 ? { range: `bytes=${have}-` } : {},
    allow: [416],
  });
  const stated = statedDetails(answer);
  try {
    checkStated(hub, download, stated);
    const start = startOf(answer, have);
    if (start === undefined) {
      // There is no such range: the part is as long as the file, or longer. What is right about it cannot be known.
      await rm(part, { force: true });
      throw new PassingError(new EngineError("download-damaged", `the hub has no bytes from ${have} of ${what}`, "try again"), 0);
    }
    const sizeBytes = file.sizeBytes ?? stated.sizeBytes ?? wholeLength(answer, start);
    const checksum = file.checksum ?? stated.checksum;
    const hash = checksum && sizeBytes !== undefined ? startHash(checksum.kind, sizeBytes) : undefined;
    if (hash && start > 0) await hashInto(hash, part, signal);
    await append({ answer, part, start, sizeBytes, hash, what, onBytes, hub });
    return hash === undefined || hash.digest("hex") === checksum?.hex;
  } finally {
    answer.body.destroy();
  }
}

interface Appending {
  hub: Hub;
  answer: HubAnswer;
  part: string;
  /** Byte of the file with which the body begins. */
  start: number;
  sizeBytes: number | undefined;
  hash: Hash | undefined;
  what: string;
  onBytes: (bytes: number) => void;
}

async function append({ hub, answer, part, start, sizeBytes, hash, what, onBytes }: Appending): Promise<void> {
  const handle = await open(part, start > 0 ? "a" : "w");
  let at = start;
  try {
    for await (const chunk of bodyOf(hub, answer, what)) {
      at += chunk.length;
      if (sizeBytes !== undefined && at > sizeBytes) throw tooLong(what, sizeBytes);
      await writeWhole(handle, chunk);
      hash?.update(chunk);
      onBytes(at);
    }
    await handle.datasync();
  } finally {
    await handle.close();
  }
  if (sizeBytes !== undefined && at < sizeBytes) {
    const message = `${what} ended after ${at} of ${sizeBytes} bytes`;
    throw new PassingError(
      new EngineError("hub-unreachable", message, "resume the download; what was downloaded is kept", { at, sizeBytes }),
    );
  }
}

/** The body, with a broken connection told apart from a disk that fails. */
async function* bodyOf(hub: Hub, answer: HubAnswer, what: string): AsyncGenerator<Buffer, void, undefined> {
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) yield chunk;
  } catch (error) {
    throw failedConnection(error, hub.url, what);
  }
}

async function writeWhole(handle: FileHandle, chunk: Buffer): Promise<void> {
  for (let done = 0; done < chunk.length;) done += (await handle.write(chunk, done)).bytesWritten;
}

/** Where the body begins in the file; undefined where the range is not there (416). A server without ranges sends all (200). */
function startOf({ status, headers }: HubAnswer, wanted: number): number | undefined {
  if (status === 200) return 0;
  if (status === 416) return undefined;
  const [, first] = /^bytes (\d+)-/.exec(headers["content-range"] ?? "") ?? [];
  if (status === 206 && first !== undefined && Number(first) === wanted) return wanted;
  throw new EngineError(
    "hub-unreachable",
    `the hub answered ${status} ${headers["content-range"] ?? "without a range"} when asked for bytes from ${wanted}`,
    "check longContext.hub.url and the proxy in between",
    { status, wanted },
  );
}

function wholeLength({ headers }: HubAnswer, start: number): number | undefined {
  const length = headers["content-length"];
  return length !== undefined && /^\d{1,15}$/.test(length) ? start + Number(length) : undefined;
}

/** The file must still be the one that was listed, and shown to the user. */
function checkStated(hub: Hub, { repository, commit, file }: FileDownload, stated: ReturnType<typeof statedDetails>): void {
  const differs =
    (stated.commit !== undefined && stated.commit !== commit) ||
    (stated.sizeBytes !== undefined && file.sizeBytes !== undefined && stated.sizeBytes !== file.sizeBytes) ||
    (stated.checksum !== undefined && stated.checksum.kind === file.checksum?.kind && stated.checksum.hex !== file.checksum.hex);
  if (!differs) return;
  throw new EngineError(
    "download-damaged",
    `the hub now gives another ${file.name} than it listed for ${repository}`,
    `add the model again, so that its files are listed anew (${pageUrl(hub, repository)})`,
    { file: file.name },
  );
}

async function hashOf(part: string, checksum: Checksum, sizeBytes: number, signal: AbortSignal | undefined): Promise<boolean> {
  const hash = startHash(checksum.kind, sizeBytes);
  await hashInto(hash, part, signal);
  return hash.digest("hex") === checksum.hex;
}

async function hashInto(hash: Hash, path: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    for await (const chunk of createReadStream(path, { signal, highWaterMark: 2 ** 20 }) as AsyncIterable<Buffer>)
      hash.update(chunk);
  } catch (error) {
    throw signal?.aborted ? stoppedError() : error;
  }
}

/** Parts of an older content of the same file can never become whole. */
async function removeStaleParts(target: string, part: string): Promise<void> {
  const folder = dirname(target);
  const stale = (await readdir(folder)).filter(
    (name) => name.startsWith(`${basename(target)}.`) && name.endsWith(".part") && name !== basename(part),
  );
  await Promise.all(stale.map((name) => rm(join(folder, name), { force: true })));
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

function damaged(hub: Hub, { repository, file }: FileDownload): EngineError {
  const kind = file.checksum?.kind === "git-sha1" ? "checksum" : "sha256";
  return new EngineError(
    "download-damaged",
    `${file.name} did not arrive with the ${kind} that the hub states; it was deleted`,
    `resume the download; if it happens again, something between this machine and ${hub.url} changes files, or the hub's copy is damaged`,
    { file: file.name, repository },
  );
}

function tooLong(what: string, sizeBytes: number): EngineError {
  return new EngineError(
    "download-damaged",
    `the hub sends more than the ${sizeBytes} bytes it states for ${what}`,
    "try again later",
    {
      sizeBytes,
    },
  );
}
