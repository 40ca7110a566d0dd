import { childrenOf, rowOf, type RowSource } from "./budgetRows.ts";
import { checkRows } from "./checkRows.ts";
import { exampleQuestion } from "./example.ts";
import { exportPack } from "./exporting.ts";
import { symbolsOf } from "./fileSymbols.ts";
import { FindingsKeeper } from "./findingsKeeper.ts";
import { Fitting } from "./fitting.ts";
import { listing } from "./listing.ts";
import { secretsGoingIn } from "./packSecrets.ts";
import type { ServerCalls } from "./requests.ts";
import { rootsLabel } from "./roots.ts";
import type { Selection } from "./selection.ts";
import { countsDiffer, readServerOptions } from "./serverOptions.ts";
import type { WorkspaceCounts } from "./state.ts";
import { whyOf } from "./why.ts";

/** Total: a new call does not compile until it is answered. */
export type Answers = {
  [Name in keyof ServerCalls]: (
    params: ServerCalls[Name]["params"],
    signal: AbortSignal,
  ) => Promise<ServerCalls[Name]["result"]> | ServerCalls[Name]["result"];
};

/** What the server answers; `current` throws before it was initialized. */
export function answersOf(current: () => WorkspaceCounts, log: (message: string) => void): Answers {
  const fitting = new Fitting(current);
  const findings = new FindingsKeeper(current, log);
  const source = (): RowSource => {
    const { table, selection, roots } = current();
    return { table, selection, label: rootsLabel(roots) };
  };
  return {
    "longContext/listing": ({ levels }, signal) => listing(current(), levels, signal),
    "longContext/children": ({ path, filter = "", sort, limit, leftOutLimit }) => {
      if (path === "") current().git.want();
      return childrenOf(source(), { path, filter, sort, limit, leftOutLimit });
    },
    "longContext/row": ({ path }) => ({ row: rowOf(source(), path) }),
    "longContext/why": ({ path }) => ({ sentences: whyOf(source(), path) }),
    "longContext/setLevels": async ({ levels }) => {
      const counts = current();
      return {
        revision: await counts.changeLevels(() => {
          counts.selection.set(levels);
          return Object.keys(levels);
        }),
      };
    },
    "longContext/checkRows": async (rows) => {
      const counts = current();
      return {
        revision: await counts.changeLevels(() => {
          checkRows(counts, rows);
          return [...rows.takenIn, ...rows.leftOut];
        }),
      };
    },
    "longContext/replaceLevels": async ({ levels }) => {
      const counts = current();
      return {
        revision: await counts.changeLevels(() => {
          counts.selection.replace(levels);
          return [""];
        }),
      };
    },
    "longContext/resetLevels": async ({ paths }) => {
      const counts = current();
      let forgotten = 0;
      const revision = await counts.changeLevels(() => {
        forgotten = counts.selection.reset(paths);
        return forgotten > 0 ? paths : [];
      });
      return { forgotten, revision };
    },
    "longContext/levels": () => ({ levels: current().selection.levels() }),
    "longContext/undo": async () => {
      const counts = current();
      let undone: ReturnType<Selection["undo"]>;
      const revision = await counts.changeLevels(() => {
        undone = counts.selection.undo();
        return undone ? [""] : [];
      });
      const change = undone?.window;
      const { window, reserve } = counts.snapshot();
      // A window that was chosen after the fit stays.
      const isStill = change?.to.window === window && change.to.reserve === reserve;
      return { undone: undone !== undefined, ...(isStill ? { windowBefore: change.from } : {}), revision };
    },
    "longContext/fit": (params, signal) => fitting.preview(params, signal),
    "longContext/applyFit": async ({ revision, windowBefore }) => ({ revision: await fitting.apply(revision, windowBefore) }),
    "longContext/findings": () => ({ findings: findings.findings() }),
    "longContext/countText": async ({ text }, signal) => {
      const [tokens = 0] = await current().pool.call("texts", { texts: [text] }, { signal, urgent: true });
      return { tokens };
    },
    "longContext/symbols": async ({ path }, signal) => ({ symbols: await symbolsOf(current(), path, signal) }),
    "longContext/secrets": async ({ paths }, signal) => ({ secrets: await secretsGoingIn(current(), paths, signal) }),
    "longContext/example": async (_, signal) => {
      const example = await exampleQuestion(current(), signal);
      return example ? { example } : {};
    },
    "longContext/gitText": ({ path, hash }) => {
      const { git } = current();
      return hash === undefined || git.hashOf(path) === hash ? { text: git.textOf(path) } : {};
    },
    "longContext/export": (params, signal) => exportPack(current(), params, signal),
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
