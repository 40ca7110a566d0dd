/** What a counting thread loads when somebody asks for more than counts: a bundle of its own. */
import type { Tokenizer } from "../../engine/tokenizer/tokenizer.ts";
import { openOutlines } from "./outline/outline.ts";
import { TextJobs } from "./textJobs.ts";

export function textJobsWith(tokenizer: Pick<Tokenizer, "countUtf8">): TextJobs {
  return new TextJobs(tokenizer, openOutlines);
}
