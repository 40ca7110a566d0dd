import { EngineError } from "../errors.ts";
import { isLevel, type Level, type LevelMap, levels } from "./levels.ts";

/** A named choice of what goes into a pack, kept as a JSON file in the workspace. It holds no URLs and no commands. */
export interface ContextSet {
  version: 1;
  name: string;
  /** Tokens of the window it was made for, and of it what stays free for the answer. */
  window?: number;
  reserve?: number;
  /** Name of a tokenizer that needs no model. */
  tokenizer?: string;
  /** See LevelMap: folders end in "/", the deepest key wins, what no key holds is "full". */
  levels: LevelMap;
}

/** The level of a file and the key that decides it; without one it is whole. */
export function levelOf(map: LevelMap, path: string): { level: Level; key: string | undefined } {
  const own = ownLevel(map, path);
  if (own !== undefined) return { level: own, key: path };
  for (let end = path.lastIndexOf("/"); end >= 0; end = path.lastIndexOf("/", end - 1)) {
    const key = path.slice(0, end + 1);
    const level = ownLevel(map, key);
    if (level !== undefined) return { level, key };
    if (end === 0) break;
  }
  const everything = ownLevel(map, "");
  return everything === undefined ? { level: "full", key: undefined } : { level: everything, key: "" };
}

/** Reads a context set from a file's text; throws `bad-argument` that names the key and what it may be. */
export function parseContextSet(text: string): ContextSet {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw bad(`is not JSON: ${error instanceof Error ? error.message : String(error)}`, "mend the file");
  }
  if (!isObject(json)) throw bad("is not an object", 'begin with { "version": 1 }');
  for (const key of Object.keys(json)) {
    if (!KEYS.has(key)) throw bad(`has the unknown key "${key}"`, `use only ${[...KEYS].join(", ")}`);
  }
  if (json.version !== 1) throw bad(`has version ${JSON.stringify(json.version)}`, "this program reads version 1");
  if (typeof json.name !== "string" || json.name.trim() === "") throw bad("has no name", 'add "name"');
  const set: ContextSet = { version: 1, name: json.name, levels: readLevels(json.levels) };
  const window = readTokens(json, "window");
  const reserve = readTokens(json, "reserve");
  if (window !== undefined) set.window = window;
  if (reserve !== undefined) set.reserve = reserve;
  if (window !== undefined && reserve !== undefined && reserve >= window)
    throw bad(`keeps ${reserve} of ${window} tokens for the answer`, '"reserve" must be below "window"');
  if (json.tokenizer !== undefined) {
    if (typeof json.tokenizer !== "string" || !/^[\w.-]+$/.test(json.tokenizer))
      throw bad(
        `has the tokenizer ${JSON.stringify(json.tokenizer)}`,
        "give a name such as o200k; paths belong into the settings",
      );
    set.tokenizer = json.tokenizer;
  }
  return set;
}

/** The text of the file: keys sorted, one a line, so that two versions can be compared line by line. */
export function writeContextSet(set: ContextSet): string {
  const { version, name, window, reserve, tokenizer } = set;
  const sorted = Object.fromEntries(Object.entries(set.levels).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  return `${JSON.stringify({ version, name, window, reserve, tokenizer, levels: sorted }, undefined, 2)}\n`;
}

/** A file may be called "constructor", which every object seems to have. */
function ownLevel(map: LevelMap, key: string): Level | undefined {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

const KEYS = new Set(["$schema", "version", "name", "window", "reserve", "tokenizer", "levels"]);

function readLevels(value: unknown): LevelMap {
  if (!isObject(value)) throw bad('has no "levels"', 'add "levels": {}');
  const read = Object.entries(value).map(([path, level]): [string, Level] => {
    if (!isPath(path))
      throw bad(`has the path "${path}"`, 'write paths from the workspace folder on, with "/", without "." and ".."');
    if (!isLevel(level)) throw bad(`gives "${path}" the level ${JSON.stringify(level)}`, `use one of ${levels.join(", ")}`);
    return [path, level];
  });
  // fromEntries makes own properties also of names such as "__proto__".
  return Object.fromEntries(read);
}

/** A file's path, a folder's with "/" at its end, or "" for everything. */
function isPath(path: string): boolean {
  if (path === "") return true;
  const names = (path.endsWith("/") ? path.slice(0, -1) : path).split("/");
  return !path.includes("\\") && names.every((name) => name !== "" && name !== "." && name !== "..");
}

function readTokens(json: Record<string, unknown>, key: "window" | "reserve"): number | undefined {
  const value = json[key];
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= (key === "window" ? 1 : 0)) return value;
  throw bad(`has the ${key} ${JSON.stringify(value)}`, "give a whole number of tokens");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(what: string, remedy: string): EngineError {
  return new EngineError("bad-argument", `the context set ${what}`, remedy);
}
