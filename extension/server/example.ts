import { nameId, nameIds, type NamesOfText } from "../../engine/pack/names.ts";
import { readMentions } from "../../engine/pack/mentions.ts";
import { rankFiles } from "../../engine/pack/rank.ts";
import { type CountedEntry, filesOf } from "./budgetTable.ts";
import { symbolsOf } from "./fileSymbols.ts";
import type { ExampleQuestion } from "./requests.ts";
import type { WorkspaceCounts } from "./state.ts";
import { byPath } from "./walk.ts";

/** Files whose names are read: an example is wanted now, not after a whole monorepo was read. */
const mostFiles = 500;
/** Files with the highest rank that are looked into for a symbol. */
const mostLooked = 12;
/** A name that says itself what it is; short ones occur everywhere. */
const plainName = /^[\p{L}_$][\p{L}\p{N}_$]{3,}$/u;

/**
 * A question that these files answer: where a name is defined that other files use, from the file that is used most. The name is defined
 * once, so that there is one right answer. Undefined where no file has such a name. Throws why counting failed, and `aborted`.
 */
export async function exampleQuestion(counts: WorkspaceCounts, signal: AbortSignal): Promise<ExampleQuestion | undefined> {
  await counts.settled();
  const entries = [...filesOf(counts.table.root)]
    .filter(({ entry, level }) => level === "full" && entry.kind === "file")
    .map(({ entry }) => entry)
    .sort(byPath)
    .slice(0, mostFiles);
  const known = await counts.knowledge.namesOf(entries, { signal });
  const names = new Map(entries.map((entry) => [entry.path, known.get(entry.hash)]));
  for (const { path } of mostUsed(entries, names).slice(0, mostLooked)) {
    const symbols = await symbolsOf(counts, path, signal);
    const usable = symbols.flatMap(({ name, nameLine, depth }) => {
      const { users, definers } = usesOf(name, path, names);
      return depth === 0 && plainName.test(name) && users > 0 && definers === 0 ? [{ name, nameLine, users }] : [];
    });
    const [best] = usable.sort((a, b) => b.users - a.users || a.nameLine - b.nameLine);
    if (best) return { question: `Where is \`${best.name}\` defined?`, name: best.name, path, line: best.nameLine };
  }
  return undefined;
}

/** By rank, without tests, documents and what is generated: nobody asks for these first. */
function mostUsed(entries: readonly CountedEntry[], names: ReadonlyMap<string, NamesOfText | undefined>): CountedEntry[] {
  const none = nameIds([]);
  const files = entries.map(({ path, mtimeMs }) => {
    const { definitions = none, references = none } = names.get(path) ?? {};
    return { path, mtimeMs, definitions, references };
  });
  const ranks = rankFiles(files, { open: new Set(), pinned: new Set(), mentions: readMentions([]) });
  const rankOf = ({ path }: CountedEntry): number => ranks.get(path)?.rank ?? 0;
  return entries
    .filter(({ path }) => ranks.get(path)?.lowered === undefined)
    .sort((a, b) => rankOf(b) - rankOf(a) || byPath(a, b));
}

/** Files beside `path` that use a name, and that seem to define it too. */
function usesOf(
  name: string,
  path: string,
  names: ReadonlyMap<string, NamesOfText | undefined>,
): { users: number; definers: number } {
  const id = nameId(name);
  let users = 0;
  let definers = 0;
  for (const [other, found] of names) {
    if (other === path) continue;
    if (found?.references.includes(id)) users++;
    if (found?.definitions.includes(id)) definers++;
  }
  return { users, definers };
}
