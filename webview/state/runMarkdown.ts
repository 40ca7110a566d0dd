/** A run as a Markdown file that says everything a reader needs to check it. Pure. */
import type { Citation } from "../../engine/generate/api.ts";
import { missingRows, missingTokens } from "../../engine/pack/api.ts";
import type { SavedRun } from "../protocol/panel.ts";
import { costRows, settingRows } from "./runFacts.ts";
import { exact, percent, placeText, stopText } from "./words.ts";

/** CommonMark with GFM tables. Texts of a model or of files are only ever in fences, code spans or escaped cells. */
export function runMarkdown(run: SavedRun): string {
  const { result } = run;
  const parts = [
    `# Answer of the Long-Context Playground\n\nAsked at ${run.askedAt}.`,
    `## Question\n\n${fenced(result.question)}`,
    `## Answer\n\n${answerPart(run)}`,
    `## Citations\n\n${citationPart(run)}`,
    section(
      "Looked at",
      table(
        ["File", "Share of attention"],
        result.lookedAt.map(({ path, share }) => [code(path), percent(share)]),
      ),
    ),
    section(
      "Files left out",
      table(
        ["File", "Tokens", "Why"],
        missingRows(result.rows).map((row) => [code(row.path), exact(missingTokens(row)), cell(row.reason)]),
      ),
    ),
    section(
      "Settings",
      table(
        ["Setting", "Value"],
        settingRows(run).map(([name, value]) => [name, cell(value)]),
      ),
    ),
    section(
      "Tokens and time",
      table(
        ["What", "How much"],
        costRows(run).map(([name, value]) => [name, cell(value)]),
      ),
    ),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

/** A name that sorts by time, e.g. answer-20260131-154500.md (UTC). */
export function runFileName({ askedAt }: SavedRun): string {
  const [, date = "", time = ""] = /^([\d-]+)T([\d:]+)/.exec(askedAt) ?? [];
  return `answer-${date.replaceAll("-", "")}-${time.replaceAll(":", "")}.md`;
}

function answerPart({ result }: SavedRun): string {
  if (result.absent) return "The model says that the answer is not in these files.";
  const stopped = stopText(result);
  return stopped === undefined ? fenced(result.answer) : `${fenced(result.answer)}\n\n${stopped}`;
}

function citationPart({ result }: SavedRun): string {
  if (result.citations.length === 0) return "None: nothing of this answer was found in the files.";
  return result.citations.map((citation, index) => citationItem(citation, `${index + 1}. `)).join("\n\n");
}

function citationItem(citation: Citation, mark: string): string {
  const place = citation.path === "" ? "no file" : code(placeText(citation));
  const share = citation.attention === undefined ? "" : `, ${percent(citation.attention)} of attention`;
  const what = citation.verified
    ? "found word for word"
    : citation.startLine > 0
      ? "attended, not quoted"
      : "not found in the files";
  const quote = citation.quote === "" ? "" : `\n\n${indented(fenced(citation.quote), mark.length)}`;
  return `${mark}${place}: ${what}${share}${quote}`;
}

function section(title: string, body: string): string {
  return body === "" ? "" : `## ${title}\n\n${body}`;
}

function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  if (body.length === 0) return "";
  return [head, head.map(() => "---"), ...body].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** A fence longer than any run of backticks in the text, so that nothing in it can end it. */
function fenced(text: string): string {
  const fence = "`".repeat(Math.max(3, longestTicks(text) + 1));
  return `${fence}text\n${text.endsWith("\n") ? text : `${text}\n`}${fence}`;
}

/** A code span on one line; a pipe is escaped because tables are cut at pipes before anything else is read. */
function code(text: string): string {
  const line = text.replaceAll(/\s*[\r\n]+\s*/g, " ").replaceAll("|", "\\|");
  const ticks = "`".repeat(longestTicks(line) + 1);
  return line.startsWith("`") || line.endsWith("`") ? `${ticks} ${line} ${ticks}` : `${ticks}${line}${ticks}`;
}

/** Words in a cell of a table: they mean themselves. */
function cell(text: string): string {
  return text.replaceAll(/\s*[\r\n]+\s*/g, " ").replaceAll(/[\\`*_[\]<>|~]/g, "\\$&");
}

function indented(text: string, columns: number): string {
  return text.replaceAll(/^(?=.)/gm, " ".repeat(columns));
}

function longestTicks(text: string): number {
  return Math.max(0, ...(text.match(/`+/g) ?? []).map(({ length }) => length));
}
