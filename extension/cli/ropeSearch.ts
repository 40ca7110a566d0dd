import { writeFile } from "node:fs/promises";
import { abortedError } from "../../engine/errors.ts";
import type { RopeSearchEvent, RopeSearchResult } from "../../engine/eval/api.ts";
import { formatRope } from "../../engine/position/ropeJson.ts";
import { RopeSearchFile } from "../models/ropeSearchFile.ts";
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
  const kept = resume === undefined ? undefined : new RopeSearchFile(resume);
  const earlier = await kept?.read();
  const { files, readFile: read } = await freeze(folder, signal, include);
  const progress = new ProgressLine(output);
  const stop = new AbortController();
  let unwritten: Error | undefined;
  const show = showEvents(output, progress);
  const result = await withSession({ ...command, rope: "model" }, packageRoot, output, signal, (session) =>
    session.searchRope(
      { files, readFile: read, targetTokens, documents, options: search, ...(earlier ? { resume: earlier } : {}) },
      AbortSignal.any([signal, stop.signal]),
      (event) => {
        if (event.type !== "state") show(event);
        else
          kept?.keep(event.state).catch((error: unknown) => {
            // A search that cannot be kept as was asked for ends now and not after hours.
            unwritten = error instanceof Error ? error : new Error(String(error));
            stop.abort();
          });
      },
    ),
  );
  progress.clear();
  if (unwritten !== undefined) throw unwritten;
  await kept?.keep(result.state);
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
