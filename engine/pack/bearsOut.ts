/** Whether a line, taken alone, bears out what somebody asks about a name: by its words and signs, in any language. */
import type { QuestionKind } from "./questionKind.ts";
import { aroundWord, holdsWord } from "./wholeWord.ts";

export function bearsOut(kind: QuestionKind, line: string, name: string): boolean {
  return SHOWS[kind](line, name);
}

const SHOWS: Readonly<Record<QuestionKind, (quote: string, name: string) => boolean>> = {
  definition: defines,
  value: isSet,
  signature: (quote, name) => defines(quote, name) && PARAMETERS.test(aroundWord(quote, name)?.behind ?? ""),
  return: (quote) => /(?:^|[\s{(;])(?:return|yield)\b|=>/.test(quote),
  import: (quote, name) =>
    !isComment(quote) && holdsWord(quote, name) && /(?:^|\s)(?:import|from|use|using|include)\b|\brequire\b|#include/.test(quote),
  caller: (quote, name) =>
    !isComment(quote) && !defines(quote, name) && /^\s*(?:<[^<>]*>)?(?:\?\.)?\(/.test(aroundWord(quote, name)?.behind ?? ""),
  comment: isComment,
  key: (quote, name) => /^(?:[-\s"'[]|export\s)*$/.test(aroundWord(quote, name)?.before ?? "no") && isAssigned(quote, name),
  file: defines,
  number: (quote, name) => holdsWord(quote, name) && /\d/.test(quote.replaceAll(name, "")),
  variables: (quote, name) => holdsWord(quote, name) && quote.includes("="),
  unknown: () => false,
};

/** Of what is defined, or of the function that it is set to. */
const PARAMETERS = /^[^=(]*\(|=\s*(?:async\s+)?(?:(?:function\b[^(]*)?\(|[\w$]+\s*=>)/;

function isComment(quote: string): boolean {
  return /^(?:\/\/|\/\*|\*|#(?!\s*(?:include|define))|--|<!--|"""|''')|(?:\*\/|"""|'''|-->)$/.test(quote.trim());
}

/** A keyword in front of it, a value given to it at the line's beginning or as an export or a method, or parameters and a body behind it. */
export function defines(quote: string, name: string): boolean {
  const place = isComment(quote) ? undefined : aroundWord(quote, name);
  if (place === undefined) return false;
  const { before, behind } = place;
  if (KEYWORD_BEFORE.test(before)) return true;
  if (ASSIGNED_AT.test(before.trimStart()) && /^\s*(?:=(?![=>])|:=)/.test(behind)) return true;
  return !CONTROL.test(before) && /^[\p{L}\p{N}_$\s*&<>:,[\]]*$/u.test(before) && hasParametersAndBody(behind);
}

/** No arguments of a call that end with a function. In one expression this would take quadratic time on the lines of bundles. */
function hasParametersAndBody(behind: string): boolean {
  const close = behind.lastIndexOf(")");
  if (!behind.endsWith("{") || close < 0 || /[;=]/.test(behind.slice(close))) return false;
  return /^\s*(?:<[^>]*>)?\(/.test(behind.slice(0, close)) && !/\bfunction\b/.test(behind);
}

const KEYWORD_BEFORE =
  /(?:^|[^\p{L}\p{N}_$])(?:function\*?|class|const|let|var|def|func|fn|type|interface|enum|struct|trait|module|namespace|macro_rules!|val|sub|#\s*define)\s+(?:\([^)]*\)\s*)?$/u;
/** The line's beginning, or what JavaScript exports or gives all objects of a kind. */
const ASSIGNED_AT = /^(?:export\s+|(?:module\.)?exports\.|[\p{L}_$][\p{L}\p{N}_$.]*\.prototype\.)?$/u;
const CONTROL = /(?:^|\s)(?:if|for|while|switch|return|else|await|catch|new|throw|case)\b/;

/** Gets a value in this line: by an assignment, or in a literal behind a colon; a colon alone may only give a type. */
function isSet(quote: string, name: string): boolean {
  if (isComment(quote)) return false;
  const { before = "", behind = "" } = aroundWord(quote, name) ?? {};
  if (/#\s*define\s+$/.test(before)) return behind.trim() !== "";
  return (
    /^["'`\])]*(?:\s*:[^=(]*|\s[\w\s]*)?\s*:?=(?![=>~])/.test(behind) ||
    /^["'`]?\s*:\s*(?:[-+]?\d|["'`[{]|(?:true|false|null|none)\b)/i.test(behind)
  );
}

function isAssigned(quote: string, name: string): boolean {
  return /^["'\]]*\s*(?:=(?![=>])|:(?!:))/.test(aroundWord(quote, name)?.behind ?? "");
}
