import { plainError } from "../../engine/errors.ts";
import type { RopeSearchState } from "../../engine/eval/api.ts";
import { RopeSearchFile } from "../models/ropeSearchFile.ts";

/** The LongRoPE search of one workspace, which a panel that is opened again goes on with. */
export class SearchStore {
  private readonly file: RopeSearchFile;
  private readonly warn: (message: string) => void;

  constructor(path: string, warn: (message: string) => void) {
    this.file = new RopeSearchFile(path);
    this.warn = warn;
  }

  /** Undefined where there is none; one that cannot be read any more is told in the log and counts as none. */
  async read(): Promise<RopeSearchState | undefined> {
    try {
      return await this.file.read();
    } catch (error) {
      this.warn(plainError(error).message);
      return undefined;
    }
  }

  keep(state: RopeSearchState): Promise<void> {
    return this.file.keep(state);
  }
}
