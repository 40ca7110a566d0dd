/** All files of a model, one after the other, with room checked before and progress told meanwhile. */
import { mkdir, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { EngineError } from "../../engine/errors.ts";
import { downloadFile, partPath } from "./downloadFile.ts";
import { failedDisk } from "./failures.ts";
import { withFileLock } from "./fileLock.ts";
import { storedPath } from "./fileName.ts";
import type { Hub } from "./hub.ts";
import type { HubFile } from "./repository.ts";
import { Speed } from "./speed.ts";
import { bytesText } from "./words.ts";

export interface ModelDownload {
  repository: string;
  commit: string;
  files: readonly HubFile[];
  folder: string;
}

export interface DownloadProgress {
  /** The file that is downloaded now. */
  file: string;
  doneBytes: number;
  /** Of the files whose size is known. */
  totalBytes: number;
  /** 0 while it is not known yet. */
  bytesPerSecond: number;
}

/** Progress is told at most this often. */
const tellMs = 200;
/** Room that stays free beside the files. */
const RESERVE_BYTES = 64 * 2 ** 20;

/**
 * Downloads what is missing of a model. `onProgress` is called a few times a second. Throws what `downloadFile` throws,
 * `storage-failed` where the disk has not enough room, and `bad-argument` where another window downloads the same.
 */
export async function downloadModel(
  hub: Hub,
  download: ModelDownload,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (progress: DownloadProgress) => void } = {},
): Promise<void> {
  const { folder } = download;
  const busy = (): Error =>
    new EngineError(
      "bad-argument",
      `another window downloads ${download.repository} now`,
      "wait for it, then look at the Models view",
    );
  try {
    await mkdir(folder, { recursive: true });
    await withFileLock(join(folder, ".lock"), 0, busy, async () => {
      await checkRoom(download);
      await fetchAll(hub, download, signal, onProgress ?? (() => undefined));
    });
  } catch (error) {
    throw failedDisk(error, folder);
  }
}

async function fetchAll(
  hub: Hub,
  { repository, commit, files, folder }: ModelDownload,
  signal: AbortSignal | undefined,
  onProgress: (progress: DownloadProgress) => void,
): Promise<void> {
  const totalBytes = sumOf(files);
  const speed = new Speed();
  let finishedBytes = 0;
  let toldMs = 0;
  // Small ones first: what makes a model unusable is found out before gigabytes have come.
  for (const file of [...files].sort((a, b) => (a.sizeBytes ?? 0) - (b.sizeBytes ?? 0))) {
    const tell = (bytes: number): void => {
      if (Date.now() - toldMs < tellMs && bytes < (file.sizeBytes ?? Infinity)) return;
      toldMs = Date.now();
      speed.mark(finishedBytes + bytes);
      onProgress({ file: file.name, doneBytes: finishedBytes + bytes, totalBytes, bytesPerSecond: speed.bytesPerSecond });
    };
    tell(0);
    await downloadFile(hub, { repository, commit, file, folder, signal, onBytes: tell });
    finishedBytes += file.sizeBytes ?? 0;
  }
}

/** Files of the model that are not on the disk, or not of the size they must have. */
export async function missingFiles(folder: string, files: readonly HubFile[]): Promise<HubFile[]> {
  const sizes = await Promise.all(files.map(({ name }) => stat(storedPath(folder, name)).catch(() => undefined)));
  return files.filter(({ sizeBytes }, index) => {
    const found = sizes[index];
    return !found?.isFile() || (sizeBytes !== undefined && found.size !== sizeBytes);
  });
}

/** Bytes that are free where `folder` is or will be. */
export async function freeBytes(folder: string): Promise<number> {
  for (let path = folder; ; path = dirname(path)) {
    try {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT") || dirname(path) === path) throw error;
    }
  }
}

/** Bytes of missing files that are still to come: what was begun is there in part. */
export async function bytesToFetch(missing: readonly HubFile[], folder: string, commit: string): Promise<number> {
  const parts = await Promise.all(missing.map((file) => stat(partPath({ folder, file, commit })).catch(() => undefined)));
  return Math.max(
    0,
    parts.reduce((rest, part) => rest - (part?.size ?? 0), sumOf(missing)),
  );
}

/** Throws `storage-failed` where the rest of the files does not fit on the disk. */
export async function checkRoom({ folder, files, commit }: Pick<ModelDownload, "folder" | "files" | "commit">): Promise<void> {
  const needBytes = await bytesToFetch(await missingFiles(folder, files), folder, commit);
  const haveBytes = await freeBytes(folder);
  if (needBytes === 0 || needBytes + RESERVE_BYTES <= haveBytes) return;
  throw new EngineError(
    "storage-failed",
    `the disk has not enough room: ${bytesText(needBytes)} are needed and ${bytesText(haveBytes)} are free at ${folder}`,
    "free some space, or choose a smaller quantisation",
    { needBytes, haveBytes },
  );
}

export function sumOf(files: readonly HubFile[]): number {
  return files.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0);
}
