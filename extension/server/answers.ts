import { EngineError } from "../../engine/errors.ts";
import { filesOf, excludedOf } from "./budgetTable.ts";
import { childrenOf, rowOf, type RowSource } from "./budgetRows.ts";
import type { ListedFile, ServerCalls, WorkspaceListing } from "./requests.ts";
import { rootsLabel } from "./roots.ts";
import { countsDiffer, readServerOptions } from "./serverOptions.ts";
import type { WorkspaceCounts } from "./state.ts";
import { byPath } from "./walk.ts";
import { whyOf } from "./why.ts";

/** Total: a new call does not compile until it is answered. */
export type Answers = {
  [Name in keyof ServerCalls]: (
    params: ServerCalls[Name]["params"],
    signal: AbortSignal,
  ) => Promise<ServerCalls[Name]["result"]> | ServerCalls[Name]["result"];
};

/** What the server answers; `current` throws before it was initialized. */
export function answersOf(current: () => WorkspaceCounts): Answers {
  const source = (): RowSource => {
    const { table, selection, roots } = current();
    return { table, selection, label: rootsLabel(roots) };
  };
  return {
    "longContext/listing": () => listing(current()),
    "longContext/children": ({ path, filter = "", sort }) => childrenOf(source(), path, filter, sort),
    "longContext/row": ({ path }) => ({ row: rowOf(source(), path) }),
    "longContext/why": ({ path }) => ({ sentences: whyOf(source(), path) }),
    "longContext/setLevels": ({ levels }) => {
      const counts = current();
      return {
        revision: counts.changeLevels(() => {
          counts.selection.set(levels);
          return Object.keys(levels);
        }),
      };
    },
    "longContext/replaceLevels": ({ levels }) => {
      const counts = current();
      return {
        revision: counts.changeLevels(() => {
          counts.selection.replace(levels);
          return [""];
        }),
      };
    },
    "longContext/levels": () => ({ levels: current().selection.levels() }),
    "longContext/undo": () => {
      const counts = current();
      let undone = false;
      const revision = counts.changeLevels(() => {
        undone = counts.selection.undo();
        return undone ? [""] : [];
      });
      return { undone, revision };
    },
    "longContext/fit": () => Promise.reject(new EngineError("internal", "not yet", "")),
    "longContext/applyFit": () => Promise.reject(new EngineError("internal", "not yet", "")),
    "longContext/findings": () => ({ findings: [] }),
    "longContext/countText": async ({ text }, signal) => {
      const [tokens = 0] = await current().pool.call("texts", { texts: [text] }, { signal, urgent: true });
      return { tokens };
    },
    "longContext/symbols": () => ({ symbols: [] }),
    "longContext/export": () => Promise.reject(new EngineError("internal", "not yet", "")),
    "longContext/configure": (params) => {
      configure(current(), params);
      return {};
    },
  };
}

/** Options that are the same ask for everything to be read again. */
function configure(counts: WorkspaceCounts, params: unknown): void {
  const settings = readServerOptions(params);
  const before = counts.settings;
  const same = JSON.stringify(settings) === JSON.stringify(before);
  if (same || countsDiffer(before, settings)) void counts.recount({ settings, reread: same });
  else counts.retarget(settings);
}

/** The files that go into a pack, once no count is under way; throws why counting failed. */
async function listing(counts: WorkspaceCounts): Promise<WorkspaceListing> {
  await counts.settled();
  const files = filesOf(counts.table.root).flatMap(({ entry, level }): ListedFile[] => {
    if (level === "excluded") return [];
    const { path, hash, sizeBytes, tokens, mtimeMs } = entry;
    return [{ path, hash, sizeBytes, tokens, mtimeMs, level }];
  });
  const { revision } = counts.snapshot();
  const excluded = excludedOf(counts.table.root);
  return { root: rootsLabel(counts.roots), revision, files: files.sort(byPath), excluded: excluded.sort(byPath) };
}
