import type { SuspectedSecret } from "../../webview/protocol/panel.ts";
import { throwIfAborted } from "../../engine/errors.ts";
import type { LineRange } from "../../engine/pack/levels.ts";
import type { CountedEntry, LeveledEntry } from "./budgetTable.ts";
import { secretName } from "./secrets.ts";
import type { WorkspaceCounts } from "./state.ts";
import type { TextKnowledge } from "./textKnowledge.ts";

/** What of a file looks like a secret: its name, or lines of it. */
export interface SuspectedFile {
  path: string;
  /** Undefined where the text is not to be read any more, or changed this moment: nobody knows what is in it. */
  found: SuspectedSecret[] | undefined;
}

/** The entries in which something looks like a secret, in their order. Throws `aborted`. */
export async function suspectedFiles(
  knowledge: TextKnowledge,
  entries: readonly CountedEntry[],
  signal: AbortSignal,
): Promise<SuspectedFile[]> {
  const scans = await knowledge.scansOf(entries, { signal });
  return entries.flatMap(({ path, hash }): SuspectedFile[] => {
    const named = secretName(path);
    if (named !== undefined) return [{ path, found: [{ path, line: 0, rule: "file-name", message: named }] }];
    const scan = scans.get(hash);
    if (!scan) return [{ path, found: undefined }];
    return scan.secrets.length === 0 ? [] : [{ path, found: scan.secrets.map((secret) => ({ path, ...secret })) }];
  });
}

/**
 * What looks like a secret in the text that these files give to a question at their levels: a name alone gives nothing, an outline its lines.
 * A file that changed this moment is left to the question, which refuses it. Throws why counting failed, and `aborted`.
 */
export async function secretsGoingIn(
  counts: WorkspaceCounts,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<SuspectedSecret[]> {
  await counts.settled();
  throwIfAborted(signal);
  const files = paths.flatMap((path) => counts.table.file(path) ?? []);
  const given = files.filter(({ level }) => level !== "name" && level !== "excluded");
  const lines = new Map(given.map((file) => [file.entry.path, linesOf(file)]));
  const suspected = await suspectedFiles(
    counts.knowledge,
    given.map(({ entry }) => entry),
    signal,
  );
  return suspected.flatMap(({ found = [] }) => found).filter(({ path, line }) => line === 0 || isAmong(line, lines.get(path)));
}

/** Undefined for a file that is whole. */
function linesOf({ entry: { outline }, level }: LeveledEntry): readonly LineRange[] | undefined {
  return level === "outline" && outline && "lines" in outline ? outline.lines : undefined;
}

function isAmong(line: number, ranges: readonly LineRange[] | undefined): boolean {
  return ranges === undefined || ranges.some(({ first, last }) => first <= line && line <= last);
}
