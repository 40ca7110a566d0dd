import { QUEST_PAGE_TOKENS } from "../attention/api.ts";
import source from "./chosen_pages.wgsl";

/** Pages of sampled queries that chose some: offsets in the words of their lists. */
export interface ChosenPages {
  /** NONE of attention/pageLists.ts where no query did. */
  chosenAt: number;
  chosenCount: number;
}

/** `sampleSees`; stands behind page_list.wgsl. */
export const chosenPages = {
  source,
  consts: { UNIT: QUEST_PAGE_TOKENS },
  params: { chosenAt: "u32", chosenCount: "u32" },
} as const;
