/**
 * Attention as text: what `--attention`, the setting and the panel read and write, one grammar for all of them.
 *
 *     POLICY [ "+" "top-pages" [ ":" PAGES ] ]        a policy, and how decoding deviates from it
 *     "top-pages" [ ":" PAGES ]                       the same with flash for the prompt
 *
 * A policy is its kind and, behind a colon, its fields with commas between them, as policyTable.ts lists them; fields that are left out at
 * the end have its defaults.
 */
import { EngineError } from "../errors.ts";
import type { AttentionChoice, AttentionPolicy } from "./api.ts";
import { policyRow, policyTable, ringLayouts, type PolicyField, type PolicyKind, type PolicyRow } from "./policyTable.ts";

/** Values of a policy's fields by name: numbers, and the layout of a ring. */
export type PolicyValues = Readonly<Record<string, number | string>>;

/** Reads `sinks:4,1024`, `flash`, `a-shape+top-pages:64` … Throws `bad-argument` with what would do. */
export function parseAttention(text: string): AttentionChoice {
  const parts = text.split("+").map((part) => part.trim());
  const first = parseOne(parts[0] ?? "");
  if (parts.length === 1) return checked(first.kind === "top-pages" ? withPages(FLASH, first) : { policy: policyOf(first) });
  const second = parseOne(parts[1] ?? "");
  if (parts.length > 2 || first.kind === "top-pages" || second.kind !== "top-pages") {
    throw new EngineError(
      "bad-argument",
      `"${text}": only decoding by top pages is added to a policy, and only once`,
      "write for example a-shape+top-pages:64",
      { given: text },
    );
  }
  return checked(withPages(policyOf(first), second));
}

/** The shortest text with every number in it; `parseAttention` gives the same choice back. */
export function formatAttention({ policy, topPages }: AttentionChoice): string {
  const pages = topPages === undefined ? [] : [formatValues("top-pages", { pages: topPages })];
  if (policy.kind === "flash" && pages.length > 0) return pages.join("+");
  return [formatValues(policy.kind, valuesOf(policy)), ...pages].join("+");
}

/** One policy as `parseAttention` reads it; what is absent from `values` has its default. */
export function formatValues(kind: PolicyKind, values: PolicyValues = {}): string {
  const { fields } = policyRow(kind);
  return fields.length === 0 ? kind : `${kind}:${fields.map(({ name, fallback }) => values[name] ?? fallback).join(",")}`;
}

/** The fields of a policy by name. */
export function valuesOf(policy: AttentionPolicy): PolicyValues {
  return Object.fromEntries(Object.entries(policy).filter(([name]) => name !== "kind"));
}

/** Throws `bad-argument` for a choice that no text would give: numbers out of range, or a combination without sense. */
export function checkAttention(choice: AttentionChoice): void {
  parseAttention(formatAttention(choice));
}

const FLASH: AttentionPolicy = { kind: "flash" };

/** A kind with a value for each of its fields. */
interface ReadPolicy {
  kind: PolicyKind;
  values: PolicyValues;
}

function parseOne(text: string): ReadPolicy {
  const [name = "", ...rest] = text.split(":");
  const row = policyTable.find(({ kind }) => kind === name.trim());
  if (row === undefined) {
    const known = policyTable.map(({ kind }) => kind).join(", ");
    throw new EngineError("bad-argument", `there is no attention policy "${name.trim()}"`, `use one of ${known}`, {
      given: text,
    });
  }
  if (rest.length === 0)
    return { kind: row.kind, values: Object.fromEntries(row.fields.map((field) => [field.name, field.fallback])) };
  const words = rest.join(":").split(",");
  if (words.length > row.fields.length) {
    const has = row.fields.length === 0 ? "no numbers" : `at most ${row.fields.length}`;
    throw refused(row, `${row.kind} takes ${has}, and "${text}" has ${words.length}`);
  }
  const values = row.fields.map((field, index) => [field.name, valueOf(row, field, words[index]?.trim())] as const);
  return { kind: row.kind, values: Object.fromEntries(values) };
}

function valueOf(row: PolicyRow, field: PolicyField, word: string | undefined): number | string {
  if (word === undefined) return field.fallback;
  if ("words" in field) {
    if (field.words.includes(word)) return word;
    throw refused(row, `the ${field.name} of ${row.kind} is one of ${field.words.join(", ")}, not "${word}"`);
  }
  const { name, unit, whole, least, most } = field;
  const value = /^\d+(\.\d+)?$/.test(word) ? Number(word) : NaN;
  if (value >= least && value <= most && (!whole || /^\d+$/.test(word))) return value;
  const what = whole ? `a whole number of ${unit}` : "a number";
  throw refused(row, `the ${name} of ${row.kind} is ${what} from ${least} to ${most}, not "${word}"`);
}

function refused(row: PolicyRow, message: string): EngineError {
  return new EngineError("bad-argument", message, `write for example ${formatValues(row.kind)}`);
}

function withPages(policy: AttentionPolicy, { values }: ReadPolicy): AttentionChoice {
  return { policy, topPages: Number(values["pages"]) };
}

function policyOf({ kind, values }: ReadPolicy): AttentionPolicy {
  const number = (name: string): number => Number(values[name]);
  switch (kind) {
    case "dense":
    case "flash":
    case "flash3":
    case "stream":
      return { kind };
    case "window":
      return { kind, window: number("window") };
    case "sinks":
    case "a-shape":
      return { kind, sinks: number("sinks"), window: number("window") };
    case "longformer":
      return { kind, window: number("window"), globals: number("globals") };
    case "bigbird":
      return { kind, window: number("window"), random: number("random"), globals: number("globals") };
    case "strided":
      return { kind, stride: number("stride") };
    case "fixed":
      return { kind, stride: number("stride"), summary: number("summary") };
    case "vertical-slash":
      return { kind, verticals: number("verticals"), slashes: number("slashes") };
    case "blocks":
      return { kind, blocks: number("blocks") };
    case "minference":
      return { kind, recall: number("recall") };
    case "ring":
      return { kind, ranks: number("ranks"), layout: ringLayouts.find((known) => known === values["layout"]) ?? "zigzag" };
    case "top-pages":
      return FLASH;
  }
}

/** What no field can say alone. */
function checked(choice: AttentionChoice): AttentionChoice {
  const { policy, topPages } = choice;
  if (policy.kind === "fixed" && policy.summary > policy.stride) {
    const message = `fixed: a summary of ${policy.summary} keys is more than a block of ${policy.stride} has`;
    throw new EngineError("bad-argument", message, `give a summary of at most ${policy.stride} keys`);
  }
  if (policy.kind === "sinks" && topPages !== undefined) {
    const message = "sinks+top-pages: StreamingLLM has evicted the pages that could be chosen from";
    throw new EngineError("bad-argument", message, "leave top-pages out, or use a-shape+top-pages, which evicts nothing");
  }
  if (topPages !== undefined && policy.kind === "stream") {
    const message = "stream+top-pages: pages are chosen on the graphics card, and stream keeps them in the computer's memory";
    throw new EngineError("bad-argument", message, "leave top-pages out, or use top-pages with flash");
  }
  if (topPages !== undefined && policy.kind === "flash3") {
    const message = "flash3+top-pages: flash3 rounds a tile of keys again as it fills, and bounds of its pages would not hold";
    throw new EngineError("bad-argument", message, "leave top-pages out, or use top-pages with flash and keys in q8");
  }
  return choice;
}
