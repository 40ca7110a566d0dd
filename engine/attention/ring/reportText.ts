/** What a ring took, in the words of the terminal and of the panel. */
import { sizeText } from "../../planner/words.ts";
import type { RingReport, RingStepReport } from "../api.ts";

/** "ring of 4 workers (zigzag): 97 % of passing keys hid behind attention; … so 12 tokens a worker would do, and each had 1,024". */
export function ringText({
  ranks,
  layout,
  hiddenShare,
  flops,
  bytesPerSecond,
  leastChunkTokens,
  chunkTokens,
}: RingReport): string {
  const hidden = `${Math.floor(100 * hiddenShare)} % of passing keys hid behind attention`;
  const rates =
    flops === undefined || bytesPerSecond === undefined || leastChunkTokens === undefined
      ? ""
      : `; ${(flops / 1e9).toPrecision(3)} GFLOP/s a worker and ${sizeText(bytesPerSecond)}/s a link, ` +
        `so ${Math.max(1, Math.ceil(leastChunkTokens)).toLocaleString("en-US")} tokens a worker would do, ` +
        `and each had ${chunkTokens.toLocaleString("en-US")}`;
  return `ring of ${ranks} workers (${layout}): ${hidden}${rates}`;
}

/** One line for each worker and step. */
export function ringStepLines({ steps }: RingReport): string[] {
  return steps.map(stepLine);
}

function stepLine({ rank, step, owner, pairs, bytes, computeMs, transferMs, waitedMs }: RingStepReport): string {
  const passed = step === 0 ? "" : `; ${sizeText(bytes)} came in ${ms(transferMs)}, with ${ms(waitedMs)} of waiting for it`;
  return `worker ${rank}, step ${step}: ${pairs.toLocaleString("en-US")} pairs with keys of worker ${owner} in ${ms(computeMs)}${passed}`;
}

function ms(value: number): string {
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
}
