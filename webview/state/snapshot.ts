/** The files of the workspace as a question takes them. Pure. */
import type { SnapshotFile } from "../../engine/api.ts";
import type { CountedFile } from "../protocol/panel.ts";

/** With the levels that were chosen in the Budget view, and the lines that an outline keeps; what is only counted stays behind. */
export function snapshotOf(files: readonly CountedFile[]): SnapshotFile[] {
  return files.map(({ path, hash, sizeBytes, level, lines }) => ({
    path,
    hash,
    sizeBytes,
    ...(level === undefined ? {} : { level }),
    ...(lines === undefined ? {} : { lines }),
  }));
}
