import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EngineError } from "../../engine/errors.ts";
import type { SavedRun } from "../../webview/protocol/panel.ts";

/** Older runs are deleted. */
export const keptRuns = 50;

/** Finished runs of one workspace, one JSON file each, so that saving one never touches another. */
export class RunStore {
  private readonly folder: string;
  private readonly warn: (message: string) => void;

  constructor(folder: string, warn: (message: string) => void) {
    this.folder = folder;
    this.warn = warn;
  }

  /** Newest first; a file that is not a run any more is named in the log and left out. */
  async list(): Promise<SavedRun[]> {
    const runs: SavedRun[] = [];
    for (const name of await this.names()) {
      try {
        runs.push(parseRun(await readFile(join(this.folder, name), "utf8")));
      } catch (error) {
        this.warn(`saved run ${name} is not readable: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return runs;
  }

  /** Writes a run whole (a run with the same id and time is replaced) and drops what is beyond the newest fifty. */
  async save(run: SavedRun): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    const name = fileName(run);
    const unfinished = join(this.folder, `${name}.tmp`);
    await writeFile(unfinished, runText(run));
    await rename(unfinished, join(this.folder, name));
    for (const old of (await this.names()).slice(keptRuns)) await rm(join(this.folder, old), { force: true });
  }

  /** Deletes the runs with this id; false where there is none. */
  async delete(id: string): Promise<boolean> {
    const digest = idDigest(id);
    const own = (await this.names()).filter((name) => name.endsWith(`-${digest}.json`));
    for (const name of own) await rm(join(this.folder, name), { force: true });
    return own.length > 0;
  }

  /** File names sort by time because they begin with it. */
  private async names(): Promise<string[]> {
    const all = await readdir(this.folder).catch(() => []);
    return all
      .filter((name) => name.endsWith(".json"))
      .sort()
      .reverse();
  }
}

/** JSON with typed arrays kept: {"uint32": base64 of the little-endian words}. */
export function runText(run: SavedRun): string {
  return JSON.stringify(run, (_key, value: unknown) =>
    value instanceof Uint32Array
      ? { uint32: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") }
      : value,
  );
}

export function parseRun(text: string): SavedRun {
  const value: unknown = JSON.parse(text, (_key, part: unknown) => {
    if (typeof part !== "object" || part === null || !("uint32" in part) || typeof part.uint32 !== "string") return part;
    return new Uint32Array(new Uint8Array(Buffer.from(part.uint32, "base64")).buffer);
  });
  // Runs of earlier versions have no sentences around their quotes and no attended lines.
  if (isSavedRun(value)) return { ...value, result: { ...{ prose: "", attended: [] }, ...value.result } };
  throw new EngineError("bad-argument", "it has no id, time or result", "delete the file");
}

function isSavedRun(value: unknown): value is SavedRun {
  return typeof value === "object" && value !== null && "id" in value && "askedAt" in value && "result" in value;
}

function fileName({ id, askedAt }: SavedRun): string {
  const askedAtMs = Date.parse(askedAt);
  if (Number.isNaN(askedAtMs))
    throw new EngineError("bad-argument", `a run was asked at "${askedAt}"`, "give an ISO 8601 time", { askedAt });
  return `${String(askedAtMs).padStart(14, "0")}-${idDigest(id)}.json`;
}

function idDigest(id: string): string {
  return createHash("sha256").update(id).digest("hex").slice(0, 16);
}
