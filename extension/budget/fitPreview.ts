/** A fit as text: what is kept, outlined, named and dropped, and why. No `vscode`. */
import type { Level } from "../../engine/pack/levels.ts";
import type { FitPreview, FitRow } from "../server/requests.ts";
import { exactTokens, filesText, shortTokens } from "./numbers.ts";

/** Headings in the order of a preview. */
export const fitGroups: readonly { level: Level; title: string }[] = [
  { level: "full", title: "Kept in full" },
  { level: "outline", title: "Outlined" },
  { level: "name", title: "Name only" },
  { level: "excluded", title: "Dropped" },
];

/** "41,200 of 120,000 tokens: 30 kept, 12 outlined, 4 by name, 9 dropped". */
export function fitSummary({ tokens, budgetTokens, kept, outlined, named, dropped }: FitPreview): string {
  return `${exactTokens(tokens)} of ${exactTokens(budgetTokens)} tokens: ${kept} kept, ${outlined} outlined, ${named} by name, ${dropped} dropped`;
}

/** Rows of one group, the largest in full first. */
export function fitRowsOf({ rows }: FitPreview, level: Level): FitRow[] {
  return rows.filter(({ to }) => to === level).sort((a, b) => b.fullTokens - a.fullTokens || (a.path < b.path ? -1 : 1));
}

/** "1.2K of 12.4K tokens" where it is not whole, else "12.4K tokens". */
export function fitCost({ to, tokens, fullTokens }: FitRow): string {
  return to === "full" ? `${shortTokens(tokens)} tokens` : `${shortTokens(tokens)} of ${shortTokens(fullTokens)} tokens`;
}

/** The whole preview as a document. */
export function fitDocument(preview: FitPreview, window: number, reserve: number): string {
  const lines = [
    `# Fit to ${exactTokens(window)} tokens`,
    "",
    `${fitSummary(preview)}.`,
    `${exactTokens(reserve)} tokens of the window stay free for the answer. Nothing has changed yet.`,
  ];
  for (const { level, title } of fitGroups) {
    const rows = fitRowsOf(preview, level);
    if (rows.length === 0) continue;
    lines.push("", `## ${title}: ${filesText(rows.length)}`, "");
    for (const row of rows)
      lines.push(`- ${row.path}: ${fitCost(row)}${row.from === row.to ? "" : `, was ${row.from}`}. ${row.reason}`);
  }
  if (preview.hiddenRows > 0)
    lines.push(
      "",
      `Of each level the largest files are listed; ${filesText(preview.hiddenRows)} more are in the tree once it is applied.`,
    );
  return `${lines.join("\n")}\n`;
}
