import type { AnswerRow, FirstTokenTimes } from "./score.ts";

const columns: readonly (readonly [title: string, cell: (row: AnswerRow) => string])[] = [
  ["length", ({ lengthTokens }) => whole(lengthTokens)],
  ["type", ({ type }) => type],
  ["n", ({ n }) => whole(n)],
  ["exact", ({ exact }) => percent(exact)],
  ["cited right", ({ citationPrecision }) => percent(citationPrecision)],
  ["place cited", ({ citationRecall }) => percent(citationRecall)],
  ["refused", ({ refused }) => percent(refused)],
  ["falsely refused", ({ falselyRefused }) => percent(falselyRefused)],
  ["first mention", ({ firstMention }) => percent(firstMention)],
  ["no model", ({ withoutModel }) => percent(withoutModel)],
  ["attended", ({ attended }) => percent(attended)],
  ["prompt tokens", ({ promptTokens }) => whole(promptTokens)],
  ["first token", ({ firstTokenMs }) => seconds(firstTokenMs.median)],
  ["p90", ({ firstTokenMs }) => seconds(firstTokenMs.p90)],
];

/** What the columns of the table mean, for whoever reads it without the documentation. */
export const tableLegend =
  "exact: answer equals the expected line (unanswerable: refused; file: or all its quotes stand in that file); cited right: share of verified citations at the expected place; " +
  "place cited: share of questions whose expected place is cited; first mention: what the first line that holds the name would score; no model: what the first line that the model chooses from would score, and what stands around a definition around the first that can be one; " +
  "attended: planted lines that are among the lines shown as attended; prompt tokens and first token: medians, p90 of the first token";

/** The rows as a Markdown table whose columns line up; a dash where a column does not apply. */
export function answerTable(rows: readonly AnswerRow[]): string {
  const cells = [columns.map(([title]) => title), ...rows.map((row) => columns.map(([, cell]) => cell(row)))];
  const widths = columns.map((_, i) => Math.max(2, ...cells.map((line) => (line[i] ?? "").length)));
  const written = cells.map(
    (line) =>
      `| ${line.map((cell, i) => (i === 1 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(" | ")} |\n`,
  );
  const rule = `| ${widths.map((width, i) => (i === 1 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |\n`;
  return [written[0], rule, ...written.slice(1)].join("");
}

/** One line for each length, and for contexts that were read and those that were kept. */
export function firstTokenLines(times: readonly FirstTokenTimes[]): string {
  return times
    .map(({ lengthTokens, kept, n, median, p90 }) => {
      const what = kept ? "behind a context that was kept" : "with its context read anew";
      return `${whole(lengthTokens)} tokens, ${what}: first token ${seconds(median)} (median), ${seconds(p90)} (p90), of ${whole(n)} questions\n`;
    })
    .join("");
}

function percent(share: number | undefined): string {
  return share === undefined ? "–" : `${Math.round(100 * share)} %`;
}

function whole(value: number): string {
  return value.toLocaleString("en-US");
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 0)} s`;
}
