/** Used, reserved, free: the window of the target model as text. No `vscode`, so that every word is tested. */
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import { settingIds } from "../settings.ts";
import { exactTokens, filesText, shortTokens, spokenTokens } from "./numbers.ts";

export interface MeterText {
  /** For the status bar, without an icon. */
  text: string;
  /** The exact numbers, one line each. */
  tooltip: string;
  /** For a screen reader. */
  sentence: string;
  /** The pack does not fit beside the reserve. */
  over: boolean;
}

/** Tokens that are left, negative where the pack is too large. */
export function freeTokens({ window, reserve, packTokens }: BudgetSnapshot): number {
  return window - reserve - packTokens;
}

export function meterText(budget: BudgetSnapshot): MeterText {
  const { packTokens, reserve, window, tokens, tokenizer, approximate, totalFiles, doneFiles, excluded, state } = budget;
  const free = freeTokens(budget);
  const over = free < 0;
  const about = approximate ? "≈ " : "";
  const model = smallerModel(budget);
  const tooltip = [
    `Used: ${about}${exactTokens(packTokens)} tokens by the pack`,
    `Reserved for the answer: ${exactTokens(reserve)}`,
    over ? `Too much by: ${exactTokens(-free)}` : `Free: ${about}${exactTokens(free)}`,
    `Window: ${exactTokens(window)}${model === undefined ? "" : `, set by ${settingIds.window} for another model`}`,
    ...(model === undefined ? [] : [`The loaded model was trained on ${exactTokens(model)}; Fit to Window… offers that window`]),
    `Whole workspace: ${about}${exactTokens(tokens)} tokens in ${filesText(totalFiles)}, ${exactTokens(excluded)} left out`,
    `Tokenizer: ${tokenizer}`,
    ...(state === "counting" ? [`Counting: ${exactTokens(doneFiles)} of ${filesText(totalFiles)}`] : []),
    "Click to open the Budget view",
  ].join("\n");
  const last = over ? `${shortTokens(-free)} over` : `${shortTokens(free)} free`;
  // What is free in a window that the loaded model does not have says of which it is.
  const ofWindow = model === undefined ? "" : ` of ${shortTokens(window)}, model ${shortTokens(model)}`;
  return {
    text: `${about}${shortTokens(packTokens)} used · ${shortTokens(reserve)} reserved · ${last}${ofWindow}`,
    tooltip,
    sentence: meterSentence(budget),
    over,
  };
}

/** "41 thousand tokens used of 128 thousand, 8 thousand tokens reserved for the answer, …", or why there is no count. */
export function meterSentence(budget: BudgetSnapshot): string {
  const { state, error, packTokens, reserve, window, approximate, doneFiles, totalFiles } = budget;
  if (state === "failed") return `Tokens are not counted: ${error?.message ?? "unknown"}. To do: ${error?.remedy ?? "recount"}.`;
  const free = freeTokens(budget);
  const about = approximate ? "about " : "";
  const rest = free < 0 ? `the pack is ${about}${spokenTokens(-free)} too large` : `${about}${spokenTokens(free)} free`;
  const progress = state === "counting" ? ` Counting, ${exactTokens(doneFiles)} of ${filesText(totalFiles)} done.` : "";
  const model = smallerModel(budget);
  const trained = model === undefined ? "" : ` The loaded model was trained on ${spokenTokens(model)} only.`;
  return (
    `The pack uses ${about}${spokenTokens(packTokens)} of a window of ${spokenTokens(window)}; ` +
    `${spokenTokens(reserve)} are reserved for the answer, ${rest}.${trained}${progress}`
  );
}

/** The loaded model's own window where it is smaller than the one that packs are made for. */
function smallerModel({ window, modelWindow }: BudgetSnapshot): number | undefined {
  return modelWindow !== undefined && modelWindow < window ? modelWindow : undefined;
}
