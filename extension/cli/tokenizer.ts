import { resolve } from "node:path";
import { isPreset } from "../../engine/tokenizer/presets.ts";
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import { bundledModelFolder } from "../models/location.ts";
import { readTokenizer } from "../server/tokenizerFile.ts";

/** The tokenizer that `--tokenizer` names: a preset or a path; without one, the bundled model's. */
export function commandTokenizer(source: string | undefined, packageRoot: string): Promise<Tokenizer> {
  if (source === undefined) return readTokenizer(bundledModelFolder(packageRoot));
  return readTokenizer(isPreset(source) ? source : resolve(source));
}
