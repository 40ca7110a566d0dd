import { costText, questionCost, readPrices } from "../../engine/pack/price.ts";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import { pricesSetting } from "../config.ts";

/** Models in the line above the tree; the others of a long table would push the tree away. */
const shownModels = 3;

/** What asking about the pack costs, by the user's price table; undefined where that is empty. Throws `bad-argument` for a wrong table. */
export function costLine({ packTokens, reserve }: BudgetSnapshot): string | undefined {
  const prices = readPrices(pricesSetting());
  if (prices.length === 0) return undefined;
  const texts = prices.slice(0, shownModels).map((price) => costText(questionCost(price, packTokens, reserve)));
  return prices.length > shownModels ? `${texts.join("\n")}\n…` : texts.join("\n");
}
