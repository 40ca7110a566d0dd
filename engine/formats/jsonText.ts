/** JSON that is looked over as text before it is parsed: headers of strangers' files, and configurations that Python wrote. */
import { EngineError, type ErrorCode } from "../errors.ts";
import { parseJson } from "./json.ts";

/**
 * JSON of a file header as a value. Nothing is built before the text is known to nest at most `maxDepth` deep and to have no empty
 * key and none twice in one object, of which JSON.parse would keep the last. Throws `code` naming `where`.
 */
export function parseHeaderJson(text: string, where: string, code: ErrorCode, remedy: string, maxDepth: number): unknown {
  const refused = headerFault(text, maxDepth);
  if (refused !== undefined) throw new EngineError(code, `${where} ${refused}`, remedy, { file: where });
  return parseJson(text, where, code, remedy);
}

function headerFault(text: string, maxDepth: number): string | undefined {
  /** Keys of the objects that are open, outermost first; undefined for an array. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "{" || char === "[") {
      if (open.length === maxDepth) return `nests more than ${maxDepth} deep`;
      open.push(char === "{" ? new Set() : undefined);
    } else if (char === "}" || char === "]") open.pop();
    else if (char === '"') {
      const end = endOfString(text, at);
      const keys = open.at(-1);
      if (keys !== undefined && /^[ \t\r\n]*:/.test(text.slice(end, end + MAX_BLANKS))) {
        const key = unescaped(text.slice(at + 1, end - 1));
        if (key === "") return "has an empty key";
        if (keys.has(key)) return `has the key ${key.slice(0, 100)} twice`;
        keys.add(key);
      }
      at = end - 1;
    }
  }
  return undefined;
}

/** White space looked at between a key and its colon; with more, JSON.parse decides alone. */
const MAX_BLANKS = 1000;

function unescaped(key: string): string {
  if (!key.includes("\\")) return key;
  try {
    const value: unknown = JSON.parse(`"${key}"`);
    return String(value);
  } catch (error) {
    // A malformed escape; JSON.parse of the whole text refuses it with its place.
    if (error instanceof SyntaxError) return key;
    throw error;
  }
}

/**
 * JSON as Python's json module writes it: Infinity, -Infinity and NaN stand bare (config.json of Mamba-2), or, in files of
 * transformers 5, as {"__float__": "Infinity"}. Both become the numbers. Throws `code` naming `where` for what is no JSON even so.
 */
export function parsePythonJson(text: string, where: string, code: ErrorCode, remedy: string): unknown {
  const value = withFloats(parseJson(quotedFloats(text), where, code, remedy), MAX_DEPTH);
  if (value !== TOO_DEEP) return value;
  throw new EngineError(code, `${where} nests more than ${MAX_DEPTH} deep`, remedy, { file: where });
}

/** Configurations of multimodal models nest four deep. */
const MAX_DEPTH = 100;
const TOO_DEEP = Symbol("too deep");

/** Bare numbers that JSON does not have, written as objects; strings stay as they are. */
function quotedFloats(text: string): string {
  const parts: string[] = [];
  let done = 0;
  const special = /"|-?Infinity|NaN/g;
  for (let found = special.exec(text); found !== null; found = special.exec(text)) {
    if (found[0] === '"') special.lastIndex = endOfString(text, found.index);
    else {
      parts.push(text.slice(done, found.index), `{"__float__":"${found[0]}"}`);
      done = special.lastIndex;
    }
  }
  return done === 0 ? text : parts.join("") + text.slice(done);
}

const FLOATS: Readonly<Record<string, number>> = { Infinity, "-Infinity": -Infinity, NaN };

function withFloats(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth === 0) return TOO_DEEP;
  const inner = Object.entries(value).map(([key, item]): [string, unknown] => [key, withFloats(item, depth - 1)]);
  if (inner.some(([, item]) => item === TOO_DEEP)) return TOO_DEEP;
  if (Array.isArray(value)) return inner.map(([, item]) => item);
  const [key, name] = inner[0] ?? [];
  if (inner.length === 1 && key === "__float__" && typeof name === "string" && Object.hasOwn(FLOATS, name)) return FLOATS[name];
  return Object.fromEntries(inner);
}

/** Place behind the string that begins at `start`; the end of the text where it does not end. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0;
    while (text[quote - 1 - backslashes] === "\\") backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
  }
  return text.length;
}
