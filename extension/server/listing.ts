import type { Level, LevelMap } from "../../engine/pack/levels.ts";
import { type CountedEntry, excludedOf, filesOf } from "./budgetTable.ts";
import { decideLevel } from "./levelDecision.ts";
import type { ListedFile, WorkspaceListing } from "./requests.ts";
import { rootsLabel } from "./roots.ts";
import { Selection } from "./selection.ts";
import type { WorkspaceCounts } from "./state.ts";
import { byPath } from "./walk.ts";

/**
 * The files and git's rows that go into a pack, once no count is under way: at the user's levels, or at others that change nothing of his. Throws why
 * counting failed, and `bad-argument` for levels that are none.
 */
export async function listing(
  counts: WorkspaceCounts,
  levels: LevelMap | undefined,
  signal: AbortSignal,
): Promise<WorkspaceListing> {
  // Git is only asked when somebody wants its rows.
  if (Object.keys(levels ?? {}).some((path) => path.startsWith("git:"))) counts.git.want();
  await counts.settled();
  const all = levels === undefined ? entriesOf(counts) : await entriesAt(counts, levels, signal);
  const files = all.flatMap(({ entry, level }): ListedFile[] => {
    if (level === "excluded") return [];
    const { path, hash, sizeBytes, tokens, mtimeMs, outline } = entry;
    const lines = level === "outline" && outline && "lines" in outline ? { lines: [...outline.lines] } : {};
    return [{ path, hash, sizeBytes, tokens, mtimeMs, level, ...lines }];
  });
  const { revision } = counts.snapshot();
  const excluded = excludedOf(counts.table.root);
  return { root: rootsLabel(counts.roots), revision, files: files.sort(byPath), excluded: excluded.sort(byPath) };
}

interface Listed {
  entry: CountedEntry;
  level: Level;
}

function entriesOf({ table }: WorkspaceCounts): Listed[] {
  return [...filesOf(table.root), ...table.git.files.values()];
}

/** Outlines that were never made are made, and kept for everybody. */
async function entriesAt(counts: WorkspaceCounts, levels: LevelMap, signal: AbortSignal): Promise<Listed[]> {
  const { table, knowledge } = counts;
  const selection = new Selection();
  selection.replace(levels);
  const leveled = (): Listed[] => entriesOf(counts).map(({ entry }) => ({ entry, level: decideLevel(selection, entry).level }));
  const todo = leveled().flatMap(({ entry, level }) =>
    level === "outline" && entry.outline === undefined && entry.kind === "file" ? [entry] : [],
  );
  if (todo.length === 0) return leveled();
  await knowledge.outlines(
    todo,
    (entry, outline) => {
      if (table.file(entry.path)?.entry === entry) table.put({ ...entry, outline });
    },
    { signal },
  );
  counts.publishNow();
  counts.keepSoon();
  return leveled();
}
