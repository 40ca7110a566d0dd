import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { EngineError } from "../../engine/errors.ts";
import type { RopeSearchState } from "../../engine/eval/api.ts";
import { parseRopeSearchState } from "../../engine/eval/ropeSearch.ts";

/** The file that a LongRoPE search is kept in. States are written one after another and whole, so that none is ever half there. */
export class RopeSearchFile {
  private newest: RopeSearchState | undefined;
  private writing: Promise<void> = Promise.resolve();

  constructor(private readonly path: string) {}

  /** The kept search; undefined where there is no file. Throws `not-found` or `bad-argument` for one that is no search. */
  async read(): Promise<RopeSearchState | undefined> {
    const { path } = this;
    let text: string;
    try {
      text = await readFile(path, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw new EngineError("not-found", `the search "${path}" cannot be read`, "give the path of a file", { path });
    }
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      throw new EngineError("bad-argument", `"${path}" is no saved search`, "give another file, or none to start anew", { path });
    }
    return parseRopeSearchState(json);
  }

  /** Writes a state behind those that are being written; of several that wait only the newest is. Rejects where it cannot be written. */
  keep(state: RopeSearchState): Promise<void> {
    this.newest = state;
    this.writing = this.writing.catch(() => undefined).then(() => this.write());
    return this.writing;
  }

  private async write(): Promise<void> {
    const { path, newest } = this;
    if (newest === undefined) return;
    this.newest = undefined;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.tmp`, JSON.stringify(newest));
    await rename(`${path}.tmp`, path);
  }
}
