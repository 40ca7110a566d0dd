import { resolve } from "node:path";
import type { RopeChoice } from "../../engine/api.ts";
import type { AskEvent, AskResult, Citation } from "../../engine/generate/api.ts";
import { cacheErrorText, denseScoresText, keptMassText } from "../../engine/attention/costText.ts";
import { formatAttention } from "../../engine/attention/policy.ts";
import { ringStepLines, ringText } from "../../engine/attention/ring/reportText.ts";
import { abortedError } from "../../engine/errors.ts";
import { formatKvFormats } from "../../engine/kv-cache/kvFormats.ts";
import { missingRows, missingText, missingTokens, type PackRow } from "../../engine/pack/api.ts";
import type { Session } from "../../engine/session.ts";
import { openPrefixFolder } from "../prefixes/prefixFolder.ts";
import type { Command } from "./args.ts";
import { freeze } from "./corpus.ts";
import { withSession } from "./model.ts";
import { grouped, jsonLine, type Output, ProgressLine, short } from "./output.ts";

/** `lcp ask`: a question about a folder, with the answer as it comes, its citations and what it took. */
export async function ask(
  command: Command & { name: "ask" },
  packageRoot: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const { question, attention, sampling, quote, maxAnswerTokens, json } = command;
  const { files, readFile } = await freeze(command.folder, signal);
  let streamed = false;
  const progress = new ProgressLine(output);
  const show = showEvents(output, progress, json);
  const { folder: kept, maxBytes = 0 } = command.prefixCache ?? {};
  const prefixes = kept === undefined ? undefined : openPrefixFolder(resolve(kept), () => maxBytes);
  const run = async (session: Session, rope: RopeChoice): Promise<AskResult> => {
    const request = { question, files, history: [], readFile, rope, attention, sampling, quote, maxAnswerTokens };
    try {
      return await session.ask(request, signal, (event) => {
        streamed ||= event.type === "token";
        show(event);
      });
    } finally {
      // Also what a stop left: the next question goes on from there.
      await session.prefixesSettled();
      progress.clear();
      tellPrefixTrouble(session, output);
    }
  };
  const result = await withSession(command, packageRoot, output, signal, run, { prefixes });
  if (json) output.out(jsonLine(asJson(result)));
  else output.out(`${streamed ? "" : answerText(result)}${asText(result)}`);
  if (result.stoppedBy === "user") throw abortedError();
}

/** Where prefixes were asked to be kept and are not, the reason. */
function tellPrefixTrouble({ info, prefixStatistics }: Session, output: Output): void {
  if (info.prefixes?.kept === false) output.err(`no prefix is kept: ${info.prefixes.because}\n`);
  else if (prefixStatistics?.trouble !== undefined) output.err(`prefix cache: ${prefixStatistics.trouble}\n`);
}

/** Progress goes to standard error, the answer's text to standard output as it is decoded. */
function showEvents(output: Output, progress: ProgressLine, json: boolean): (event: AskEvent) => void {
  const quiet = json && !output.terminal;
  return (event) => {
    if (event.type === "token") {
      progress.clear();
      if (!json) output.out(event.text);
    } else if (event.type === "candidate") {
      if (output.terminal) progress.show(`comparing lines: ${event.text}`, 0);
    } else if (event.type === "recovered") {
      progress.clear();
      output.err(`went on after: ${event.because}\n`);
    } else if (!quiet) {
      showProgress(progress, output, event);
    }
  };
}

function showProgress(
  progress: ProgressLine,
  output: Output,
  event: AskEvent & { type: "packing" | "packed" | "prefill" },
): void {
  switch (event.type) {
    case "packing":
      if (output.terminal)
        progress.show(`packing ${event.doneFiles} / ${event.totalFiles} files`, event.doneFiles / Math.max(1, event.totalFiles));
      break;
    case "packed": {
      progress.clear();
      const missing = missingText(event.rows);
      const leftOut = missing === "" ? "" : `, ${missing}`;
      const reasons = leftOutLines(event.rows);
      output.err(
        `${grouped(event.promptTokens)} of ${grouped(event.limit.tokens)} tokens (${event.limit.because})${leftOut}\n${reasons}`,
      );
      break;
    }
    case "prefill": {
      const { doneTokens, totalTokens, path } = event;
      progress.show(
        `prefill ${short(doneTokens)} / ${short(totalTokens)} tokens, ${path}`,
        doneTokens / Math.max(1, totalTokens),
      );
      if (doneTokens >= totalTokens) progress.clear();
      break;
    }
  }
}

/** Files that do not fit, or only in part, the most missing tokens first, each with its reason. */
function leftOutLines(rows: readonly PackRow[]): string {
  const left = missingRows(rows).sort((a, b) => missingTokens(b) - missingTokens(a));
  const lines = left
    .slice(0, mostNamed)
    .map(({ path, included, reason }) => `  ${included ? "" : "left out: "}${path}: ${reason}\n`);
  const more = left.length - lines.length;
  return lines.join("") + (more > 0 ? `  and ${grouped(more)} more; --json lists all\n` : "");
}

/** Left out files that are named one by one. */
const mostNamed = 10;

/** The JSON contract: these fields are never renamed. */
function asJson(result: AskResult): Record<string, unknown> {
  const { answer, citations, promptTokens, reusedTokens, backend, timings } = result;
  const { absent, stoppedBy, answerTokens, backendBecause, device, rope, attention, limit, rows, lookedAt } = result;
  const { restoredTokens, kv, keptMass, cacheError, denseScores, ring } = result;
  return {
    answer,
    citations,
    promptTokens,
    reusedTokens,
    restoredTokens,
    backend,
    timings,
    absent,
    stoppedBy,
    answerTokens,
    backendBecause,
    device,
    rope,
    attention: attention && formatAttention(attention),
    kv: kv && formatKvFormats(kv),
    keptMass,
    cacheError,
    denseScores,
    ring,
    limit,
    lookedAt,
    prose: result.prose,
    attended: result.attended,
    attendedPrecision: result.attendedPrecision,
    dropped: rows.filter(({ included }) => !included),
  };
}

/** An answer of quotes, behind its sentences. */
function answerText({ prose, answer, absent }: AskResult): string {
  if (absent || prose === "") return answer;
  return `${prose.replaceAll("`", "")}\n${answer}`;
}

/** What follows the streamed answer. */
function asText(result: AskResult): string {
  const { answer, citations, promptTokens, reusedTokens, answerTokens, timings, backend, device, backendBecause } = result;
  const { restoredTokens } = result;
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  const restored = restoredTokens > 0 ? `, ${grouped(restoredTokens)} of them from the prefix cache` : "";
  const reused = reusedTokens > 0 ? ` (${grouped(reusedTokens)} reused${restored})` : "";
  return [
    answer.endsWith("\n") || answer === "" ? "" : "\n",
    ...(result.absent ? [`${result.prose}\n`] : []),
    ...citations.map(citationLine),
    `${grouped(promptTokens)} prompt tokens${reused}, ${grouped(answerTokens)} answer tokens`,
    `; pack ${seconds(timings.packMs)}, prefill ${seconds(timings.prefillMs)}, decode ${seconds(timings.decodeMs)}\n`,
    ...attentionLines(result),
    `${backend} on ${device}: ${backendBecause}\n`,
  ].join("");
}

/** How it attended and cached, where that is not the plain way, and what it cost. */
function attentionLines({ attention, kv, keptMass, cacheError, ring, denseScores }: AskResult): string[] {
  if (attention === undefined) return [];
  const policy = formatAttention(attention);
  const plain = policy === "flash" && (kv === undefined || formatKvFormats(kv) === "f32");
  if (plain) return [];
  return [
    `attention ${policy}${kv === undefined ? "" : `, keys and values in ${formatKvFormats(kv)}`}`,
    ...(keptMass === undefined ? [] : [`; kept ${keptMassText(keptMass)}`]),
    ...(cacheError === undefined ? [] : [`; cache error ${cacheErrorText(cacheError)}`]),
    ...(denseScores === undefined ? [] : [`; ${denseScoresText(denseScores)}`]),
    "\n",
    ...(ring === undefined ? [] : [ringText(ring), ...ringStepLines(ring)].map((line) => `${line}\n`)),
  ];
}

function citationLine({ path, startLine, quote, verified }: Citation): string {
  const [first = "", ...more] = quote.split("\n");
  return `${path}:${startLine}  ${first.trim()}${more.length > 0 ? " …" : ""}${verified ? "" : "  (not a verbatim quote)"}\n`;
}
