/** What a pack says of every file, so that nothing is left out without a word. */

/** One row per file of the snapshot, packed or not; nothing is dropped without a reason. */
export interface PackRow {
  path: string;
  /** In the prompt, or what it would take there. */
  tokens: number;
  included: boolean;
  /** Of the whole file, where it is included only in part for want of room. */
  wholeTokens?: number;
  reason: string;
}

/** Tokens of a file that are not in the prompt. */
export function missingTokens({ included, tokens, wholeTokens = tokens }: PackRow): number {
  return included ? wholeTokens - tokens : tokens;
}

/** Rows of the files that are not in the prompt, or only in part. */
export function missingRows<Row extends PackRow>(rows: readonly Row[]): Row[] {
  return rows.filter((row) => missingTokens(row) > 0);
}

/** "2 files do not fit, 1 fits only in part"; empty where everything is there. */
export function missingText(rows: readonly PackRow[]): string {
  const missing = missingRows(rows);
  const out = missing.filter(({ included }) => !included).length;
  const part = missing.length - out;
  const outText = `${filesText(out)} ${out === 1 ? "does" : "do"} not fit`;
  const partText = `${out === 0 ? filesText(part) : part.toLocaleString("en-US")} ${part === 1 ? "fits" : "fit"} only in part`;
  return [...(out === 0 ? [] : [outText]), ...(part === 0 ? [] : [partText])].join(", ");
}

function filesText(count: number): string {
  return `${count.toLocaleString("en-US")} ${count === 1 ? "file" : "files"}`;
}
