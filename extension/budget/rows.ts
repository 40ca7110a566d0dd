/** How a row of the Budget tree reads: short for the eye, as a sentence for a screen reader. No `vscode`, so that every word is tested. */
import type { Level } from "../../engine/pack/levels.ts";
import type { BudgetRow } from "../server/requests.ts";
import { exactTokens, filesText, shortShare, shortTokens, spokenShare, spokenTokens } from "./numbers.ts";

/** What a level is called in the tree and in messages. */
export const levelNames: Readonly<Record<Level | "mixed", string>> = {
  full: "full",
  outline: "outline",
  name: "name only",
  excluded: "excluded",
  mixed: "mixed",
};

/** The text behind a row's name: "12.4K · 9.8 %", then its level where that is not full. */
export function rowDescription(row: BudgetRow, window: number): string {
  if (row.kind === "excluded") return row.reason;
  const about = row.approximate ? "≈ " : "";
  const size = `${about}${shortTokens(row.tokens)}`;
  const share = shortShare(row.tokens, window);
  const cost = share === "" ? size : `${size} · ${share}`;
  if (row.includedFiles === 0 && row.level === "excluded")
    return `${levelNames.excluded} · would be ${about}${shortTokens(row.fullTokens)}`;
  switch (row.level) {
    case "full":
      return cost;
    case "mixed":
      return row.includedFiles < row.files
        ? `${cost} · ${row.includedFiles} of ${filesText(row.files)}`
        : `${cost} · ${levelNames.mixed}`;
    default:
      return `${cost} · ${levelNames[row.level]} of ${shortTokens(row.fullTokens)}`;
  }
}

/** "src, folder, 41 thousand tokens, 32 percent of the window, included". */
export function rowSentence(row: BudgetRow, window: number): string {
  if (row.kind === "excluded") return `${row.name}, ${kindName(row)}, left out: ${row.reason}`;
  const about = row.approximate ? "about " : "";
  const parts = [row.name, kindName(row)];
  if (row.level === "excluded") parts.push(`would be ${about}${spokenTokens(row.fullTokens)}`);
  else parts.push(`${about}${spokenTokens(row.tokens)}`, spokenShare(row.tokens, window));
  parts.push(inclusion(row), ...row.marks.map(({ message }) => message));
  return parts.filter((part) => part !== "").join(", ");
}

/** Every number and the reason, one line each. */
export function rowTooltip(row: BudgetRow, window: number): string {
  if (row.kind === "excluded") return `${row.path}\nLeft out: ${row.reason}`;
  const about = row.approximate ? "≈ " : "";
  const lines = [
    row.path.replace(/^git:/, "git: "),
    `${about}${exactTokens(row.tokens)} tokens in the pack (${levelNames[row.level]}), ${shortShare(row.tokens, window)} of the window`,
  ];
  if (row.fullTokens !== row.tokens) lines.push(`${about}${exactTokens(row.fullTokens)} tokens in full`);
  if (row.kind === "folder") lines.push(`${exactTokens(row.includedFiles)} of ${filesText(row.files)} included`);
  if (row.reason !== "") lines.push(row.reason);
  lines.push(...row.marks.map(({ message }) => message));
  if (row.mtimeMs > 0) lines.push(`Last change: ${new Date(row.mtimeMs).toISOString().slice(0, 16).replace("T", " ")} UTC`);
  if (row.approximate) lines.push("≈ is an estimate; the exact count is under way");
  return lines.join("\n");
}

/** Name of the icon (a codicon) that shows the level. */
export function rowIcon(row: BudgetRow): string {
  if (row.kind === "excluded") return "circle-slash";
  if (row.level === "excluded") return "circle-slash";
  if (row.kind === "git") return "git-commit";
  if (row.kind === "folder") return row.level === "outline" ? "list-tree" : "folder";
  if (row.level === "outline") return "list-tree";
  if (row.level === "name") return "symbol-key";
  return row.marks.length > 0 ? "file-code" : "file";
}

/** Something of it goes into the pack. */
export function isIncluded(row: BudgetRow): boolean {
  return row.kind === "folder" ? row.includedFiles > 0 : row.level !== "excluded";
}

/** "7 left out" over rows that are not counted. */
export function leftOutLabel(count: number): string {
  return `${exactTokens(count)} left out`;
}

function kindName(row: BudgetRow): string {
  switch (row.kind) {
    case "folder":
      return "folder";
    case "git":
      return "from git";
    case "file":
      return "file";
    case "excluded":
      return row.path.endsWith("/") ? "folder" : "file";
  }
}

function inclusion(row: BudgetRow): string {
  switch (row.level) {
    case "full":
      return "included";
    case "mixed":
      return row.includedFiles < row.files
        ? `${row.includedFiles} of ${filesText(row.files)} included`
        : "included at different levels";
    case "outline":
    case "name":
      return `included as ${row.level === "name" ? "its name only" : "an outline"}`;
    case "excluded":
      return "excluded";
  }
}
