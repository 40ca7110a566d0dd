import { EngineError } from "../../engine/errors.ts";
import type { ServerOptions } from "./requests.ts";

/** Checks what came over the wire; throws `bad-argument` that names the field. */
export function readServerOptions(value: unknown): ServerOptions {
  if (typeof value !== "object" || value === null) throw bad("is missing", "options");
  const fields = new Map<string, unknown>(Object.entries(value));
  const text = (name: string): string => {
    const field = fields.get(name);
    if (typeof field === "string") return field;
    throw bad("is no text", name);
  };
  const count = (name: string): number => {
    const field = fields.get(name);
    if (typeof field === "number" && Number.isSafeInteger(field) && field >= 0) return field;
    throw bad("is not a whole number of at least 0", name);
  };
  const modelWindow = fields.get("modelWindow") === undefined ? {} : { modelWindow: count("modelWindow") };
  const include = fields.get("include");
  if (!Array.isArray(include) || !include.every((glob) => typeof glob === "string"))
    throw bad("is not a list of globs", "include");
  const git = fields.get("git");
  if (typeof git !== "boolean") throw bad("is neither true nor false", "git");
  return {
    tokenizer: text("tokenizer"),
    storageFolder: text("storageFolder"),
    include,
    maxFileBytes: count("maxFileBytes"),
    window: count("window"),
    reserve: count("reserve"),
    ...modelWindow,
    git,
    commits: count("commits"),
  };
}

/** Whether what is counted, or with what, differs between two sets of options. */
export function countsDiffer(a: ServerOptions, b: ServerOptions): boolean {
  return (
    a.tokenizer !== b.tokenizer ||
    a.storageFolder !== b.storageFolder ||
    a.maxFileBytes !== b.maxFileBytes ||
    a.include.join("\n") !== b.include.join("\n")
  );
}

function bad(what: string, name: string): EngineError {
  return new EngineError("bad-argument", `the token server's option "${name}" ${what}`, "reload the window", { name });
}
