import { cacheErrorText, denseScoresText, keptMassText } from "../../engine/attention/costText.ts";
import { formatAttention } from "../../engine/attention/policy.ts";
import { ringStepLines, ringText } from "../../engine/attention/ring/reportText.ts";
import { formatKvFormats } from "../../engine/kv-cache/kvFormats.ts";
import type { AttentionChoice } from "../../engine/attention/api.ts";
import { EngineError } from "../../engine/errors.ts";
import type { Command } from "./args.ts";
import { withSession } from "./model.ts";
import { jsonLine, type Output } from "./output.ts";

/** Logits shown of each position where people read. */
const shownLogits = 10;

/** `lcp logits`: what the model says after the given tokens, for comparing backends. */
export async function logits(
  command: Command & { name: "logits" },
  packageRoot: string,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const { ids, attention, all, json } = command;
  checkPrompts(attention);
  const { info, found } = await withSession(
    command,
    packageRoot,
    output,
    signal,
    async (session, rope) => {
      const found = await session.logits(ids, { rope, attention, all, signal });
      return { info: session.info, found };
    },
    { idsOnly: true },
  );
  const { backend, weightFormat, quantizationError } = info;
  const { logits: rows, ring, keptMass, cacheError, denseScores } = found;
  const words = { attention: formatAttention(attention), kv: info.kv && formatKvFormats(info.kv) };
  const how = { ...words, keptMass, cacheError, denseScores };
  if (json) {
    output.out(jsonLine({ backend, weightFormat, quantizationError, ...how, ring, tokens: ids.length, logits: rows }));
    return;
  }
  if (keptMass !== undefined) output.out(`${how.attention} kept ${keptMassText(keptMass)}\n`);
  if (cacheError !== undefined) output.out(`keys and values in ${how.kv ?? ""}, relative error ${cacheErrorText(cacheError)}\n`);
  if (denseScores !== undefined) output.out(`${how.attention}: ${denseScoresText(denseScores)}\n`);
  if (ring !== undefined) for (const line of [ringText(ring), ...ringStepLines(ring)]) output.out(`${line}\n`);
  if (quantizationError !== undefined) {
    output.out(`weights rounded to ${weightFormat}, relative error ${(100 * quantizationError).toPrecision(2)} %\n`);
  }
  output.out(`backend ${backend}, ${ids.length} tokens; the ${shownLogits} largest logits of each position shown as id:logit\n`);
  const firstPosition = ids.length - rows.length;
  for (const [index, row] of rows.entries()) output.out(`${firstPosition + index}\t${largest(row)}\n`);
}

/** Logits are those of a prompt: what only changes how answers are decoded would change nothing. */
function checkPrompts({ topPages }: AttentionChoice): void {
  if (topPages === undefined) return;
  const message = "top pages change how answers are decoded, and logits decodes none";
  throw new EngineError("bad-argument", message, "leave top-pages out, or ask a question");
}

function largest(row: readonly number[]): string {
  const order = [...row.keys()].sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0)).slice(0, shownLogits);
  return order.map((id) => `${id}:${(row[id] ?? NaN).toFixed(4)}`).join(" ");
}
