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
  const { ids, all, json } = command;
  const { backend, rows } = await withSession(command, packageRoot, output, signal, async (session, rope) => {
    const { vocabSize } = session.info.spec;
    const outside = ids.find((id) => id >= vocabSize);
    if (outside !== undefined) {
      const remedy = `give token ids from 0 to ${vocabSize - 1}`;
      throw new EngineError("bad-argument", `token id ${outside} is not in the vocabulary`, remedy, { id: outside, vocabSize });
    }
    const flat = await session.logits(ids, { rope, all, signal });
    const count = all ? ids.length : 1;
    const found = Array.from({ length: count }, (_, row) => flat.subarray(row * vocabSize, (row + 1) * vocabSize));
    return { backend: session.info.backend, rows: found };
  });
  if (json) {
    output.out(jsonLine({ backend, tokens: ids.length, logits: rows }));
    return;
  }
  output.out(`backend ${backend}, ${ids.length} tokens; the ${shownLogits} largest logits of each position shown as id:logit\n`);
  const firstPosition = ids.length - rows.length;
  for (const [index, row] of rows.entries()) output.out(`${firstPosition + index}\t${largest(row)}\n`);
}

function largest(row: Float32Array): string {
  const order = [...row.keys()].sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0)).slice(0, shownLogits);
  return order.map((id) => `${id}:${(row[id] ?? NaN).toFixed(4)}`).join(" ");
}
