/** A plan for people. */
import { flopsText, secondsText, sizeText, tokensText } from "../../engine/planner/words.ts";
import { grouped } from "./output.ts";
import type { Planned, PlannedLine } from "./plan.ts";

export function planText(planned: Planned): string {
  const { model, plan, attention, kv, device, backendBecause, timeBecause, ways, ring } = planned;
  const { spec } = model;
  const how = kv === undefined ? "" : `, attention ${attention}, keys and values in ${kv}`;
  const beside = plan.kvHostBytes === 0 ? "" : ` and ${sizeText(plan.kvHostBytes)} in host memory`;
  const inPages = plan.kvAllocatedBytes === plan.kvBytes ? "" : ` (${sizeText(plan.kvAllocatedBytes)} allocated${beside})`;
  const atMost = plan.flopsAreExact ? "" : "at most ";
  const lines = [
    `${model.label} (${spec.modelType}, ${spec.layerCount} layers), ${tokensText(plan.tokens)}${how}`,
    `weights         ${sizeText(plan.weightsBytes)}${model.hasWeights ? "" : ", by config.json alone"}`,
    `${kv === undefined ? "state          " : "keys and values"} ${sizeText(plan.kvBytes)}${inPages}`,
    `workspace       ${sizeText(plan.workspaceBytes)}: ${plan.workspace.map(({ what, bytes }) => `${sizeText(bytes)} ${what}`).join(", ")}`,
    `prefill         ${atMost}${flopsText(plan.prefillFlops)} (products ${flopsText(plan.linearFlops)}, attention ${atMost}${flopsText(plan.attentionFlops)})${after(plan.prefillSeconds)}`,
    `a token more    reads ${sizeText(plan.decodeBytesPerToken)}${after(plan.decodeSecondsPerToken)}`,
    `time            ${timeBecause}`,
    `backend         ${device.backend}: ${backendBecause}`,
    `${plan.fits ? "fits" : "does not fit"}: ${plan.because}`,
    `at most         ${mostText(plan.largestTokens)}`,
  ];
  return [...lines, ...(ring === undefined ? [] : ringLines(ring)), ...(ways === undefined ? [] : table(ways))]
    .map((line) => `${line}\n`)
    .join("");
}

function after(seconds: number | null): string {
  return seconds === null ? "" : `, ${secondsText(seconds)}`;
}

function mostText(tokens: number): string {
  return Number.isFinite(tokens) ? tokensText(tokens) : "no bound: memory does not grow with the context";
}

function ringLines(ring: NonNullable<Planned["ring"]>): string[] {
  const { ranks, layout, tokensPerRank, kvBytesPerRank, stepComputeSeconds, stepTransferSeconds, overlaps } = ring;
  const least = `passing hides behind attending from ${grouped(ring.leastTokensPerRank)} tokens per card on`;
  return [
    `ring of ${ranks}       ${layout}, ${grouped(tokensPerRank)} tokens and ${sizeText(kvBytesPerRank)} of keys and values per card`,
    `  a step        attends in ${secondsText(stepComputeSeconds)} and passes on in ${secondsText(stepTransferSeconds)}: ${overlaps ? "hidden" : "not hidden"}; ${least}`,
    `  prefill       ${secondsText(ring.prefillSeconds)} (products ${secondsText(ring.linearSeconds)}, attention ${secondsText(ring.attentionSeconds)}), ${ring.speedup.toFixed(1)} times one card`,
  ];
}

/** One line for each policy and format. */
function table(ways: readonly PlannedLine[]): string[] {
  const rows = ways.map(({ attention, kv = "", plan }) => [
    attention,
    kv,
    sizeText(plan.kvAllocatedBytes),
    `${plan.flopsAreExact ? "" : "<= "}${flopsText(plan.prefillFlops)}`,
    plan.prefillSeconds === null ? "-" : secondsText(plan.prefillSeconds),
    plan.decodeSecondsPerToken === null ? "-" : secondsText(plan.decodeSecondsPerToken),
    plan.fits ? "fits" : "does not fit",
    Number.isFinite(plan.largestTokens) ? grouped(plan.largestTokens) : "no bound",
  ]);
  const all = [["attention", "kv", "allocated", "prefill", "time", "a token", "", "tokens at most"], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length))) ?? [];
  return [
    "",
    ...all.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    ),
  ];
}
