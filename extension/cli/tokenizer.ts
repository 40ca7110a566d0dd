import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import { bundledModelFolder } from "../models/location.ts";
import { readTokenizer } from "../server/tokenizerFile.ts";

/** The tokenizer that `--tokenizer` names; without one, the bundled model's. */
export function commandTokenizer(source: string | undefined, packageRoot: string): Promise<Tokenizer> {
  return readTokenizer(source ?? bundledModelFolder(packageRoot));
}
