/** The attention setting as a person edits it: text per field, read back into an AttentionChoice or a problem per field. Pure. */
import type { AttentionChoice, AttentionPolicy } from "../../engine/attention/api.ts";
import { formatValues, parseAttention, valuesOf } from "../../engine/attention/policy.ts";
import { policyRow, policyTable } from "../../engine/attention/policyTable.ts";
import type { NumberField, PolicyField, PolicyRow } from "../../engine/attention/policyTable.ts";
import { EngineError } from "../../engine/errors.ts";
import { exact } from "./words.ts";

export type AttentionKind = AttentionPolicy["kind"];

export interface AttentionDraft {
  kind: AttentionKind;
  /** Text per field of the kind. */
  text: Readonly<Record<string, string>>;
  /** Pages that each token of the answer reads; empty: as the pattern has it. */
  pages: string;
}

/** Problems by field; those of the pages by "pages", of the whole by "". */
export type AttentionReading = { choice: AttentionChoice } | { problems: Readonly<Record<string, string>> };

/** The rows that are policies of their own, in the order of the list. */
export const attentionRows: readonly (PolicyRow & { kind: AttentionKind })[] = policyTable.filter(isPolicy);

/** Decoding by the best pages, which goes with a policy. */
export const pagesRow = policyRow("top-pages");

function isPolicy(row: PolicyRow): row is PolicyRow & { kind: AttentionKind } {
  return row.kind !== "top-pages";
}

export function attentionDraft({ policy, topPages }: AttentionChoice): AttentionDraft {
  const values = valuesOf(policy);
  const { fields } = policyRow(policy.kind);
  const text = Object.fromEntries(fields.map(({ name, fallback }) => [name, String(values[name] ?? fallback)]));
  return { kind: policy.kind, text, pages: topPages === undefined ? "" : String(topPages) };
}

/** A kind with its first values; the pages stay as they were, unless the kind has none to choose from. */
export function draftOfKind(kind: AttentionKind, before: AttentionDraft): AttentionDraft {
  const text = Object.fromEntries(policyRow(kind).fields.map(({ name, fallback }) => [name, String(fallback)]));
  const draft = { kind, text, pages: before.pages };
  return "choice" in readAttentionDraft(draft) ? draft : { ...draft, pages: "" };
}

export function readAttentionDraft({ kind, text, pages }: AttentionDraft): AttentionReading {
  const problems: Record<string, string> = {};
  const read = (field: PolicyField, written: string): void => {
    const problem = fieldProblem(field, written);
    if (problem !== undefined) problems[field.name] = problem;
  };
  const { fields } = policyRow(kind);
  for (const field of fields) read(field, text[field.name] ?? "");
  const hasPages = pages.trim() !== "";
  if (hasPages) for (const field of pagesRow.fields) read(field, pages);
  if (Object.keys(problems).length > 0) return { problems };
  const written = formatValues(kind, Object.fromEntries(fields.map(({ name }) => [name, (text[name] ?? "").trim()])));
  try {
    return { choice: parseAttention(hasPages ? `${written}+top-pages:${pages.trim()}` : written) };
  } catch (error) {
    if (EngineError.is(error)) return { problems: { "": `${error.message}; ${error.remedy}` } };
    throw error;
  }
}

/** The range of a number in words; a bound beyond any context is none that a person meets. */
export function rangeText({ unit, whole, least, most }: NumberField): string {
  const what = unit === "share" ? "a share" : `${whole ? "a whole number" : "a number"} of ${unit}`;
  return `${what} from ${least} ${most >= 2 ** 24 ? "on" : `to ${exact(most)}`}`;
}

function fieldProblem(field: PolicyField, written: string): string | undefined {
  const word = written.trim();
  if ("words" in field) return field.words.includes(word) ? undefined : `one of ${field.words.join(", ")}`;
  const value = /^\d+(\.\d+)?$/.test(word) ? Number(word) : NaN;
  const fits = value >= field.least && value <= field.most && (!field.whole || Number.isSafeInteger(value));
  return fits ? undefined : rangeText(field);
}
