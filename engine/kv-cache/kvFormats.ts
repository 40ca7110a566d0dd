/** How cache formats are written: "q8" for keys and values, "q8,f16" for keys and then values. */
import type { KvFormat, KvFormats } from "../attention/api.ts";
import { EngineError } from "../errors.ts";
import type { RowFormats } from "./format.ts";

/** Every cache format, from the widest to the narrowest. */
export const kvFormats = ["f32", "f16", "q8", "q4"] as const satisfies readonly KvFormat[];

/** Reads `--kv` and the setting of the same name. Throws `bad-argument`. */
export function parseKvFormats(text: string): KvFormats {
  const named = text.split(",").map((part) => kvFormats.find((format) => format === part.trim()));
  const [keys, values] = named.length === 1 ? [named[0], named[0]] : named;
  if (named.length <= 2 && keys !== undefined && values !== undefined) return { keys, values };
  throw new EngineError(
    "bad-argument",
    `"${text}" is no format of cached keys and values`,
    `give one of ${kvFormats.join(", ")} for both, or two with a comma: keys,values`,
    { given: text },
  );
}

/** As `parseKvFormats` reads it: one word where both are alike. What flash3 caches in can be written and not be chosen. */
export function formatKvFormats({ keys, values }: RowFormats): string {
  return keys === values ? keys : `${keys},${values}`;
}
