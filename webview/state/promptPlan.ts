/** What the question that is being typed would cost, and for what that was found out. Pure. */
import type { AskOptions, AskPlan } from "../../engine/generate/api.ts";
import type { PanelSettings } from "../protocol/panel.ts";
import { busyWith, threadHistory } from "./store.ts";
import type { State } from "./store.ts";

export type PromptPlan = { key: string; plan: AskPlan } | { key: string; problem: string };

export interface PlanSubject {
  /** Equal iff the plan would be. */
  key: string;
  question: string;
  history: { question: string; answer: string }[];
  options: AskOptions;
}

/** The question to plan for; undefined where there is none, or nobody who could. */
export function planSubject(state: State): PlanSubject | undefined {
  const { settings, engine, budget } = state;
  const question = state.question.trim();
  if (!settings || engine.status !== "ready" || budget?.state !== "ready" || question === "" || busyWith(state)) return undefined;
  const options = askOptions(settings);
  const history = threadHistory(state);
  const cached = [state.cachedRun, state.contextRun, engine.info.model, engine.info.device];
  return { key: JSON.stringify([question, options, history, budget.revision, cached]), question, history, options };
}

/** What is known of the question as it stands now. */
export function promptPlan(state: State): PromptPlan | undefined {
  const { prompt } = state;
  return prompt !== undefined && prompt.key === planSubject(state)?.key ? prompt : undefined;
}

export function askOptions({ rope, attention, sampling, quote, maxAnswerTokens }: PanelSettings): AskOptions {
  return { rope, attention, sampling, quote, maxAnswerTokens };
}
