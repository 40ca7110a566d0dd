/** attended.json in a model's folder: how often the lines that its attention points at held the answer. */
import type { ModelFiles } from "../api.ts";
import { EngineError } from "../errors.ts";
import { isRecord, JsonFields, parseJson, shown } from "../formats/json.ts";
import type { AttendedPrecision } from "../generate/api.ts";

const NAME = "attended.json";
const REMEDY = "delete it, or measure the model again";

/** {"hits": n, "asked": m, "contextTokens": t, "command": "..."}; undefined without the file. Throws `unsupported-model` for a damaged one. */
export async function attendedPrecision(files: ModelFiles): Promise<AttendedPrecision | undefined> {
  const text = await files.text(NAME);
  if (text === undefined) return undefined;
  const json = parseJson(text, NAME, "unsupported-model", REMEDY);
  if (!isRecord(json)) throw new EngineError("unsupported-model", `${NAME} holds ${shown(json)}, not an object`, REMEDY);
  const fields = new JsonFields(json, NAME, "unsupported-model", REMEDY);
  const hits = fields.number("hits");
  const asked = fields.positiveInteger("asked");
  if (!Number.isSafeInteger(hits) || hits < 0 || hits > asked)
    throw new EngineError("unsupported-model", `${NAME} counts ${hits} hits of ${asked}`, REMEDY);
  return { hits, asked, contextTokens: fields.positiveInteger("contextTokens"), command: fields.string("command") };
}
