/** The list of models the user added: a JSON file in the extension's storage, the same for all windows. No `vscode`. */
import { randomBytes } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { EngineError } from "../../engine/errors.ts";
import { isRecord } from "../../engine/formats/json.ts";
import { checksumOf } from "../hub/checksum.ts";
import { partPath } from "../hub/downloadFile.ts";
import { failedDisk } from "../hub/failures.ts";
import { withFileLock } from "../hub/fileLock.ts";
import { storedPath } from "../hub/fileName.ts";
import type { HubFile } from "../hub/repository.ts";
import { folderName, isRepository } from "../hub/repositoryId.ts";

/** Where a downloaded model came from, and which files belong to it. */
export interface HubSource {
  kind: "hub";
  /** Address of the hub. */
  hub: string;
  repository: string;
  revision: string;
  commit: string;
  license: string | undefined;
  files: readonly HubFile[];
}

/** `disk`: the user's own folder or file, which is read where it lies and never deleted. */
export type ModelSource = { kind: "disk" } | HubSource;

export interface KnownModel {
  /** Absolute path of the model's folder or GGUF file; no two models have the same. */
  path: string;
  source: ModelSource;
}

/** What was wrong with the list when it was read; it was set aside, and what could be saved is in a new one. */
export interface Repair {
  backup: string;
  kept: number;
}

const listName = "models.json";
/** Beside a downloaded model: what the list says of it, so that the list can be made again. */
const noteName = "model-source.json";
const version = 1;
const lockWaitMs = 5000;

export class KnownModels {
  /** Where downloaded models are stored. */
  readonly folder: string;
  /** The file with the list. */
  readonly list: string;
  private readonly repaired: (repair: Repair) => void;

  /** `repaired` is told when a damaged list was set aside. */
  constructor(storage: string, repaired: (repair: Repair) => void) {
    this.list = join(storage, listName);
    this.folder = join(storage, "models");
    this.repaired = repaired;
  }

  /** Folder of a downloaded model at one commit. */
  folderOf({ repository, commit }: Pick<HubSource, "repository" | "commit">): string {
    return join(this.folder, folderName(repository), commit);
  }

  /** All models, in the order in which they were added. Throws `storage-failed` where the list cannot be read. */
  async all(): Promise<KnownModel[]> {
    const read = await this.read();
    return read.damaged ? this.locked(async () => (await this.readOrRepair()).models) : read.models;
  }

  /** Adds a model, or replaces the one with the same path. */
  async add(model: KnownModel): Promise<void> {
    if (!isAbsolute(model.path))
      throw new EngineError("bad-argument", `the model path "${model.path}" is not absolute`, "give the full path", {
        path: model.path,
      });
    if (model.source.kind === "hub") await this.note(model);
    await this.change((models) => {
      const at = models.findIndex(({ path }) => path === model.path);
      return at < 0 ? [...models, model] : models.with(at, model);
    });
  }

  /** Takes a model off the list; of a downloaded one its files are deleted, others stay where they are. */
  async remove(path: string): Promise<void> {
    const before = await this.all();
    const removed = before.find((model) => model.path === path);
    if (removed === undefined) return;
    const rest = before.filter((model) => model !== removed);
    if (removed.source.kind === "hub") await this.deleteFiles(removed, removed.source, rest);
    await this.change((models) => models.filter((model) => model.path !== path));
  }

  private async change(edit: (models: KnownModel[]) => KnownModel[]): Promise<void> {
    await this.locked(async () => this.write(edit((await this.readOrRepair()).models)));
  }

  private async readOrRepair(): Promise<{ models: KnownModel[] }> {
    const { models, damaged } = await this.read();
    if (!damaged) return { models };
    const backup = `${this.list}.damaged-${new Date().toISOString().replaceAll(/[:.]/g, "-")}`;
    await copyFile(this.list, backup);
    const found = await this.notes();
    const known = new Set(models.map(({ path }) => path));
    const kept = [...models, ...found.filter(({ path }) => !known.has(path))];
    await this.write(kept);
    this.repaired({ backup, kept: kept.length });
    return { models: kept };
  }

  private async read(): Promise<{ models: KnownModel[]; damaged: boolean }> {
    let text: string;
    try {
      text = await readFile(this.list, "utf8");
    } catch (error) {
      if (isMissing(error)) return { models: [], damaged: false };
      throw new EngineError(
        "storage-failed",
        `the list of models cannot be read: ${String(error)}`,
        `check who may read ${this.list}`,
        {
          file: this.list,
        },
      );
    }
    return parseList(text);
  }

  /** Whole or not at all. */
  private async write(models: readonly KnownModel[]): Promise<void> {
    const unfinished = `${this.list}.${randomBytes(6).toString("hex")}.tmp`;
    try {
      await mkdir(dirname(this.list), { recursive: true });
      await writeFile(unfinished, `${JSON.stringify({ version, models }, undefined, 2)}\n`);
      await rename(unfinished, this.list);
    } catch (error) {
      await rm(unfinished, { force: true });
      throw failedDisk(error, this.list);
    }
  }

  private locked<Result>(work: () => Promise<Result>): Promise<Result> {
    const busy = (): Error =>
      new EngineError("storage-failed", "another window is writing the list of models", "try again", { file: this.list });
    return withFileLock(`${this.list}.lock`, lockWaitMs, busy, work);
  }

  private async note(model: KnownModel): Promise<void> {
    if (model.source.kind !== "hub") return;
    const folder = this.folderOf(model.source);
    try {
      await mkdir(folder, { recursive: true });
      const notes = (await readNotes(folder)).filter(({ path }) => path !== model.path);
      await writeFile(join(folder, noteName), `${JSON.stringify({ version, models: [...notes, model] }, undefined, 2)}\n`);
    } catch (error) {
      throw failedDisk(error, folder);
    }
  }

  /** What the downloaded models say of themselves. */
  private async notes(): Promise<KnownModel[]> {
    const found: KnownModel[] = [];
    for (const repository of await foldersIn(this.folder)) {
      for (const commit of await foldersIn(join(this.folder, repository))) {
        found.push(...(await readNotes(join(this.folder, repository, commit))));
      }
    }
    return found;
  }

  /** Only what was downloaded, only below our own folder, and nothing that another model on the list needs. */
  private async deleteFiles(removed: KnownModel, source: HubSource, rest: readonly KnownModel[]): Promise<void> {
    const folder = this.folderOf(source);
    const shared = rest.filter(({ source: other }) => other.kind === "hub" && this.folderOf(other) === folder);
    if (shared.length === 0) await rm(folder, { recursive: true, force: true });
    else {
      const needed = new Set(
        shared.flatMap(({ source: other }) => (other.kind === "hub" ? other.files.map(({ name }) => name) : [])),
      );
      for (const file of source.files.filter(({ name }) => !needed.has(name))) {
        await rm(storedPath(folder, file.name), { force: true });
        await rm(partPath({ folder, file, commit: source.commit }), { force: true });
      }
      const notes = (await readNotes(folder)).filter(({ path }) => path !== removed.path);
      await writeFile(join(folder, noteName), `${JSON.stringify({ version, models: notes }, undefined, 2)}\n`);
    }
    const above = dirname(folder);
    if ((await readdir(above).catch(() => ["kept"])).length === 0) await rm(above, { recursive: true, force: true });
  }
}

/** Every entry that is whole; `damaged` when anything else is in it. */
function parseList(text: string): { models: KnownModel[]; damaged: boolean } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { models: [], damaged: true };
  }
  const entries: unknown = isRecord(json) && json["version"] === version ? json["models"] : undefined;
  if (!Array.isArray(entries)) return { models: [], damaged: true };
  const models = entries.flatMap((entry: unknown) => modelOf(entry) ?? []);
  return { models, damaged: models.length !== entries.length };
}

function modelOf(entry: unknown): KnownModel | undefined {
  if (!isRecord(entry) || !isRecord(entry["source"])) return undefined;
  const { path, source } = entry;
  if (typeof path !== "string" || !isAbsolute(path)) return undefined;
  if (source["kind"] === "disk") return { path, source: { kind: "disk" } };
  const { hub, repository, revision, commit, license, files } = source;
  const named =
    typeof hub === "string" && typeof revision === "string" && typeof repository === "string" && isRepository(repository);
  if (!named || typeof commit !== "string" || !/^[0-9a-f]{40,64}$/.test(commit) || !Array.isArray(files)) return undefined;
  const listed = files.flatMap((file: unknown) => fileOf(file) ?? []);
  if (listed.length !== files.length) return undefined;
  const licensed = typeof license === "string" ? license : undefined;
  return { path, source: { kind: "hub", hub, repository, revision, commit, license: licensed, files: listed } };
}

function fileOf(value: unknown): HubFile | undefined {
  if (!isRecord(value) || typeof value["name"] !== "string") return undefined;
  const { sizeBytes, checksum } = value;
  return {
    name: value["name"],
    sizeBytes: typeof sizeBytes === "number" && Number.isSafeInteger(sizeBytes) && sizeBytes >= 0 ? sizeBytes : undefined,
    checksum: isRecord(checksum) && typeof checksum["hex"] === "string" ? checksumOf(checksum["hex"]) : undefined,
  };
}

async function readNotes(folder: string): Promise<KnownModel[]> {
  try {
    return parseList(await readFile(join(folder, noteName), "utf8")).models;
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}
