import { readFile, rename, writeFile } from "node:fs/promises";
import { abortedError, EngineError } from "../../engine/errors.ts";
import type { RopeSearchEvent, RopeSearchResult, RopeSearchState } from "../../engine/eval/api.ts";
import { parseRopeSearchState } from "../../engine/eval/ropeSearch.ts";
import { formatRope } from "../../engine/position/ropeJson.ts";
import type { Command } from "./args.ts";
import { freeze } from "./corpus.ts";
import { withSession } from "./model.ts";
import { grouped, jsonLine, type Output, ProgressLine, short } from "./output.ts";

/** `lcp rope-search`: LongRoPE's factors for a model at a length, judged on the files of a folder. Ctrl-C keeps the search where --resume says. */
export async function ropeSearch(
  command: Command & { name: "rope-search" },
  packageRoot: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const { folder, include, targetTokens, documents, search, resume, json } = command;
  const earlier = resume === undefined ? undefined : await readState(resume);
  const { files, readFile: read } = await freeze(folder, signal, include);
  const progress = new ProgressLine(output);
  const keeper = new StateKeeper(resume);
  const show = showEvents(output, progress);
  const result = await withSession({ ...command, rope: "model" }, packageRoot, output, signal, (session) =>
    session.searchRope(
      { files, readFile: read, targetTokens, documents, options: search, ...(earlier ? { resume: earlier } : {}) },
      signal,
      (event) => {
        if (event.type === "state") keeper.keep(event.state);
        else show(event);
      },
    ),
  );
  progress.clear();
  keeper.keep(result.state);
  await keeper.settled();
  const rope = result.best && `${JSON.stringify(formatRope(result.best.scaling))}\n`;
  if (rope !== undefined && command.out !== undefined) await writeFile(command.out, rope);
  if (json) output.out(jsonLine(asJson(result)));
  else if (rope !== undefined && command.out === undefined) output.out(rope);
  output.err(summary(result));
  if (!result.finished) throw abortedError();
}

/** The JSON contract: these fields are never renamed. */
function asJson({ best, finished, progress, state }: RopeSearchResult): Record<string, unknown> {
  const { plain, yarn, judged, planned } = progress;
  return {
    rope: best && formatRope(best.scaling),
    perplexity: best?.perplexity,
    plain,
    yarn,
    judged,
    planned,
    finished,
    targetTokens: state.targetTokens,
    documents: state.documents,
  };
}

function summary({ best, finished, progress, state }: RopeSearchResult): string {
  const { plain, yarn, judged, planned } = progress;
  const found = best ? `${perplexity(best.perplexity)} with the best factors` : "no factors judged";
  const state_ = finished ? "" : `, stopped after ${grouped(judged)} of ${grouped(planned)} lists`;
  return `perplexity at ${grouped(state.targetTokens)} tokens: ${perplexity(plain)} without scaling, ${perplexity(yarn)} with YaRN, ${found}${state_}\n`;
}

function showEvents(output: Output, progress: ProgressLine): (event: Exclude<RopeSearchEvent, { type: "state" }>) => void {
  let judged = "";
  return (event) => {
    switch (event.type) {
      case "recovered":
        progress.clear();
        output.err(`went on after: ${event.because}\n`);
        break;
      case "reading":
        if (output.terminal) progress.show(`reading ${short(event.doneTokens)} / ${short(event.totalTokens)} tokens`, 0);
        break;
      case "scoring": {
        const part = Math.floor((100 * event.doneTokens) / Math.max(1, event.totalTokens));
        const what = { plain: "without scaling", yarn: "under YaRN", factors: "a list of factors" }[event.what];
        if (output.terminal) progress.show(`${judged}scoring ${what}, ${part} %`, 0);
        break;
      }
      case "judged": {
        const { generation, generations, judged: count, planned, best, plain, yarn } = event;
        judged = `generation ${generation} / ${generations}, ${grouped(count)} / ${grouped(planned)} lists, best ${perplexity(best)} (plain ${perplexity(plain)}, YaRN ${perplexity(yarn)}); `;
        progress.show(judged.slice(0, -2), count / Math.max(1, planned));
        break;
      }
    }
  };
}

function perplexity(value: number): string {
  return value.toPrecision(5);
}

async function readState(path: string): Promise<RopeSearchState | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new EngineError("not-found", `the search "${path}" cannot be read`, "give the path of a file");
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new EngineError("bad-argument", `"${path}" is no saved search`, "give another file, or none to start anew");
  }
  return parseRopeSearchState(json);
}

/** Writes states one after another, each whole: a process that dies while writing leaves the one before. */
class StateKeeper {
  private newest: RopeSearchState | undefined;
  private writing: Promise<void> = Promise.resolve();

  constructor(private readonly path: string | undefined) {}

  keep(state: RopeSearchState): void {
    this.newest = state;
    this.writing = this.writing.then(() => this.write());
    // Whoever waits for the last one hears of it; until then nobody does.
    this.writing.catch(() => undefined);
  }

  settled(): Promise<void> {
    return this.writing;
  }

  private async write(): Promise<void> {
    const { path, newest } = this;
    if (path === undefined || newest === undefined) return;
    this.newest = undefined;
    await writeFile(`${path}.tmp`, JSON.stringify(newest));
    await rename(`${path}.tmp`, path);
  }
}
