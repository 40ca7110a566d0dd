import { createHash } from "node:crypto";
import { EngineError } from "../../engine/errors.ts";
import { type FitChoice, type FitItem, fitToWindow } from "../../engine/pack/fit.ts";
import type { Level } from "../../engine/pack/levels.ts";
import { readMentions } from "../../engine/pack/mentions.ts";
import { type NamesOfText, nameIds } from "../../engine/pack/names.ts";
import { rankFiles } from "../../engine/pack/rank.ts";
import { type CountedEntry, filesOf, type LeveledEntry } from "./budgetTable.ts";
import { countStopped } from "./countStopped.ts";
import { fittedLevels } from "./fittedLevels.ts";
import { decideLevel, pinnedLevel } from "./levelDecision.ts";
import type { FitPreview, FitRow, FitWindow, ServerCalls } from "./requests.ts";
import type { Selection } from "./selection.ts";
import type { WorkspaceCounts } from "./state.ts";

type FitAsk = ServerCalls["longContext/fit"]["params"];

/** Rows of one level in a preview: more would keep the editor busy, and nobody reads them. */
const mostRows = 1000;

/** Fits of one workspace: made, shown, and applied when the user says so. */
export class Fitting {
  private readonly counts: () => WorkspaceCounts;
  private last: { revision: number; basis: string; window: FitWindow; choices: readonly FitChoice[] } | undefined;

  constructor(counts: () => WorkspaceCounts) {
    this.counts = counts;
  }

  /**
   * Chooses a level for every file so that the pack fits the window beside the reserve, and changes nothing. What the user chose stays. Throws what
   * `fitToWindow` throws, and `aborted`.
   */
  async preview({ window, reserve, question, openPaths }: FitAsk, outer: AbortSignal): Promise<FitPreview> {
    const counts = this.counts();
    if (!(reserve >= 0 && reserve < window)) {
      const message = `${reserve} of ${window} tokens are reserved, which leaves none`;
      throw new EngineError("bad-argument", message, "choose a larger window or a smaller reserve", { window, reserve });
    }
    await counts.settled();
    const own = new AbortController();
    const signal = AbortSignal.any([outer, own.signal]);
    const bar = counts.progressBar("Reading files for the fit", () => own.abort());
    try {
      if (signal.aborted) throw countStopped();
      const names = await this.readFiles(counts, signal, (done, all) => bar.report(done, all));
      const began = performance.now();
      const files = leveledOf(counts);
      const items = itemsOf(counts, files, names, { question, openPaths });
      const { choices, tokens } = fitToWindow(items, window - reserve);
      this.last = { revision: counts.snapshot().revision, basis: basisOf(files), window: { window, reserve }, choices };
      const rows = choices.map((choice, i) =>
        rowOf(choice, files[i], items[i]?.pinned === undefined ? undefined : counts.selection),
      );
      const count = (level: Level): number => rows.filter(({ to }) => to === level).length;
      const listed = mostOfEach(rows);
      return {
        revision: this.last.revision,
        budgetTokens: window - reserve,
        tokens,
        kept: count("full"),
        outlined: count("outline"),
        named: count("name"),
        dropped: count("excluded"),
        rows: listed,
        hiddenRows: rows.length - listed.length,
        elapsedMs: Math.round(performance.now() - began),
      };
    } finally {
      bar.done();
    }
  }

  /**
   * Puts every file at the level of the last preview; an undo gives `windowBefore` back. Throws `bad-argument` where something changed since the
   * preview was made.
   */
  async apply(revision: number, windowBefore: FitWindow): Promise<number> {
    const counts = this.counts();
    const { last } = this;
    if (last?.revision !== revision || last.basis !== basisOf(leveledOf(counts))) {
      throw new EngineError("bad-argument", "files or levels changed since the preview was made", "fit again");
    }
    this.last = undefined;
    const pinned = (path: string): boolean => {
      const file = counts.table.file(path);
      return file !== undefined && pinnedLevel(counts.selection, file.entry) !== undefined;
    };
    const chosen = last.choices.map(({ path, level }) => ({ path, level, pinned: pinned(path) }));
    const reasons = new Map(last.choices.flatMap(({ path, reason }) => (pinned(path) ? [] : [[path, reason] as const])));
    return counts.changeLevels(() => {
      counts.selection.fit(fittedLevels(chosen), reasons, { from: windowBefore, to: last.window });
      return [""];
    });
  }

  /** Outlines of all files that a fit decides about, kept in the table, and the names of all. */
  private async readFiles(
    counts: WorkspaceCounts,
    signal: AbortSignal,
    onProgress: (done: number, all: number) => void,
  ): Promise<ReadonlyMap<string, NamesOfText>> {
    const { table, knowledge, selection } = counts;
    const entries = leveledOf(counts).map(({ entry }) => entry);
    const open = entries.filter((entry) => pinnedLevel(selection, entry) === undefined);
    const todo = open.filter(({ outline, kind }) => outline === undefined && kind === "file");
    const half = entries.length;
    const all = todo.length + half;
    let outlined = false;
    await knowledge.outlines(
      todo,
      (entry, outline) => {
        if (table.file(entry.path)?.entry !== entry) return;
        table.put({ ...entry, outline });
        outlined = true;
      },
      { signal, onProgress: (done) => onProgress(done, all) },
    );
    if (outlined) {
      counts.publishNow();
      counts.keepSoon();
    }
    return knowledge.namesOf(entries, { signal, onProgress: (done, of) => onProgress(todo.length + half - of + done, all) });
  }
}

/** The files of the workspace and git's rows, in path order. */
function leveledOf({ table }: WorkspaceCounts): LeveledEntry[] {
  const all = [...filesOf(table.root), ...table.git.files.values()];
  return all.sort((a, b) => (a.entry.path < b.entry.path ? -1 : a.entry.path > b.entry.path ? 1 : 0));
}

function itemsOf(
  { selection }: WorkspaceCounts,
  files: readonly LeveledEntry[],
  names: ReadonlyMap<string, NamesOfText>,
  { question, openPaths }: Pick<FitAsk, "question" | "openPaths">,
): FitItem[] {
  const none = nameIds([]);
  const pins = files.map(({ entry }) => pinnedLevel(selection, entry));
  const pinned = new Set(files.flatMap(({ entry }, i) => (pins[i] === undefined || pins[i] === "excluded" ? [] : [entry.path])));
  const ranks = rankFiles(
    files.map(({ entry: { path, hash, mtimeMs, outline } }) => {
      const { definitions = none, references = none } = names.get(hash) ?? {};
      // A parser knows better what a file defines than the words in front of names.
      return { path, mtimeMs, references, definitions: outline && "tokens" in outline ? outline.definitions : definitions };
    }),
    { open: new Set(openPaths), pinned, mentions: readMentions(question.trim() === "" ? [] : [question]) },
  );
  return files.map(({ entry }, i): FitItem => {
    const level = pins[i];
    return {
      path: entry.path,
      ...(ranks.get(entry.path) ?? { rank: 0, reasons: [] }),
      ...costsOf(entry),
      ...(level === undefined ? {} : { pinned: level }),
    };
  });
}

function costsOf({
  nameTokens,
  bodyTokens,
  outline,
}: CountedEntry): Pick<FitItem, "fullTokens" | "outlineTokens" | "nameTokens"> {
  const costs = { fullTokens: nameTokens + bodyTokens, nameTokens };
  return outline && "tokens" in outline ? { ...costs, outlineTokens: nameTokens + outline.tokens } : costs;
}

/** What a fit was made of: other texts or other levels are another basis. */
function basisOf(files: readonly LeveledEntry[]): string {
  const basis = createHash("sha256");
  for (const { entry, level } of files) basis.update(`${entry.path}\0${entry.hash}\0${level}\n`);
  return basis.digest("hex");
}

/** `selection` where the file's level is not the fit's to choose. */
function rowOf(choice: FitChoice, file: LeveledEntry | undefined, selection: Selection | undefined): FitRow {
  const { path, level: to, tokens } = choice;
  if (!file) return { path, from: to, to, tokens, fullTokens: tokens, reason: choice.reason };
  const { entry, level: from } = file;
  const reason = selection ? decideLevel(selection, entry).reason : choice.reason;
  // Who wonders why a large file was not outlined learns that it cannot be.
  const cannot =
    entry.outline && "reason" in entry.outline && (to === "name" || to === "excluded") ? `; ${entry.outline.reason}` : "";
  return { path, from, to, tokens, fullTokens: entry.tokens, reason: reason + cannot };
}

function mostOfEach(rows: readonly FitRow[]): FitRow[] {
  const largest = [...rows].sort((a, b) => b.fullTokens - a.fullTokens);
  const counts = new Map<Level, number>();
  return largest.filter(({ to }) => {
    const count = (counts.get(to) ?? 0) + 1;
    counts.set(to, count);
    return count <= mostRows;
  });
}
