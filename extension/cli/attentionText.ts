/** What `lcp help` says of attention. */
import { formatValues } from "../../engine/attention/policy.ts";
import { policyTable } from "../../engine/attention/policyTable.ts";

export const attentionHelp =
  "Policies of --attention, with their defaults; +top-pages:64 behind one changes how answers are decoded:";

/** One line per policy with its defaults, for `lcp help`. */
export function policyLines(): string[] {
  const written = policyTable.map(({ kind }) => formatValues(kind));
  const width = Math.max(...written.map(({ length }) => length));
  return policyTable.map(({ does }, index) => `${(written[index] ?? "").padEnd(width)}  ${does}`);
}
