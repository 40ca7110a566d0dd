/** Between Ask and computing: finds out whether something is off about a question, and asks it at once where nothing is. */
import type { RopeChoice } from "../engine/api.ts";
import { plainError } from "../engine/errors.ts";
import type { AskPlan } from "../engine/generate/api.ts";
import type { EngineClient, Host } from "./engine.ts";
import type { PanelSettings } from "./protocol/panel.ts";
import { packWindow } from "./state/derived.ts";
import { askOptions, promptPlan } from "./state/promptPlan.ts";
import { estimateByRuns, sheetFor } from "./state/sheet.ts";
import type { PrefillEstimate, Sheet, SheetChoice } from "./state/sheet.ts";
import { snapshotOf } from "./state/snapshot.ts";
import { busyWith, threadHistory } from "./state/store.ts";
import type { Action, Store } from "./state/store.ts";

/** A prompt that is not worth a measurement of some seconds before it is read. */
const MEASURE_FROM_TOKENS = 4096;

/** What it needs of the playground around it. */
export interface PreSendParts {
  store: Store;
  host: Pick<Host, "call">;
  engine: Pick<EngineClient, "plan" | "planAttention">;
  dispatch: (action: Action) => void;
  /** Runs an effect whose failure is told. */
  attempt: (work: Promise<unknown>) => void;
  engineFree: () => Promise<void>;
  changeRope: (rope: RopeChoice) => void;
  /** Asks now, without these files. */
  start: (question: string, without: readonly string[]) => void;
}

export interface PreSend {
  /** Asks a question, or shows what is off about it. */
  ask: (question: string) => void;
  /** What the user chose on the sheet. */
  choose: (choice: SheetChoice) => void;
  /** Gives up finding out, and the sheet that came of it. */
  stop: () => void;
}

export function createPreSend(parts: PreSendParts): PreSend {
  const { store, host, engine, dispatch, attempt } = parts;
  let checking: AbortController | undefined;

  /** `known`: what it costs as far as that was planned while it was typed. */
  function check(question: string, without: readonly string[], known: AskPlan | undefined): void {
    const { settings } = store.state;
    if (!settings || busyWith(store.state)) return;
    const controller = new AbortController();
    checking = controller;
    dispatch({ type: "sheetChecking", question });
    const work = async (): Promise<void> => {
      try {
        const sheet = await sheetOf(question, without, known, settings, controller.signal);
        if (controller.signal.aborted) return;
        if (sheet) {
          dispatch({ type: "sheetShown", question, without, sheet });
          return;
        }
        dispatch({ type: "sheetClosed" });
        parts.start(question, without);
      } catch (error) {
        if (controller.signal.aborted) return;
        dispatch({ type: "sheetClosed" });
        throw error;
      }
    };
    attempt(work());
  }

  /** Undefined too where it cannot be planned: asking it says why, as it always did. */
  async function sheetOf(
    question: string,
    without: readonly string[],
    known: AskPlan | undefined,
    settings: PanelSettings,
    signal: AbortSignal,
  ): Promise<Sheet | undefined> {
    const plan = known ?? (await planOf(question, without, settings, signal));
    if (!plan) return undefined;
    const paths = plan.rows.flatMap(({ path, included }) => (included ? [path] : []));
    const { secrets, coldPrefixSeconds } = await host.call("ask/check", { paths }, { signal });
    const estimate = coldPrefixSeconds === 0 ? undefined : await estimateOf(plan, settings, signal);
    const { maxAnswerTokens } = settings;
    const window = packWindow(store.state, plan);
    if (!window) return undefined;
    const { accepted } = store.state.sheet;
    return sheetFor({ plan, maxAnswerTokens, secrets, estimate, coldPrefixSeconds, window, accepted });
  }

  async function planOf(
    question: string,
    without: readonly string[],
    settings: PanelSettings,
    signal: AbortSignal,
  ): Promise<AskPlan | undefined> {
    try {
      await parts.engineFree();
      const { files } = await host.call("workspace/files", {}, { signal });
      const kept = snapshotOf(files).filter(({ path }) => !without.includes(path));
      const history = threadHistory(store.state);
      return await engine.plan({ question, history, options: askOptions(settings), files: kept }, signal);
    } catch {
      // The same is thrown again when the question is asked, and shown as the run that failed.
      return undefined;
    }
  }

  async function estimateOf(
    plan: AskPlan,
    { rope, attention, kv }: PanelSettings,
    signal: AbortSignal,
  ): Promise<PrefillEstimate | undefined> {
    const { engine: opened, runs } = store.state;
    if (opened.status !== "ready") return undefined;
    const byRuns = estimateByRuns(plan, runs, opened.info, { attention });
    if (byRuns || plan.recomputedTokens < MEASURE_FROM_TOKENS) return byRuns;
    try {
      const request = { tokens: plan.promptTokens, rope, attention, kv, only: "chosen" as const };
      const { chosen } = await engine.planAttention(request, signal);
      const { prefillSeconds } = chosen.plan;
      if (prefillSeconds === null) return undefined;
      return { seconds: (prefillSeconds * plan.recomputedTokens) / plan.promptTokens, because: "a measurement" };
    } catch (error) {
      const message = `how long reading takes is not known: ${plainError(error).message}`;
      if (!signal.aborted) attempt(host.call("log/write", { level: "warn", message }));
      return undefined;
    }
  }

  async function fit(question: string, without: readonly string[], { overBudget }: Sheet): Promise<void> {
    if (!overBudget) return;
    const { limit, reserveTokens } = overBudget;
    const { applied } = await host.call("levels/fit", { window: limit.tokens, reserve: reserveTokens, question });
    if (applied) check(question, without, undefined);
  }

  return {
    ask(question) {
      const planned = promptPlan(store.state);
      const isSame = question === store.state.question.trim();
      check(question, [], isSame && planned && "plan" in planned ? planned.plan : undefined);
    },
    choose(choice) {
      const shown = store.state.sheet;
      if (shown.status !== "shown") return;
      const { question, without, sheet } = shown;
      if (choice === "cancel") {
        dispatch({ type: "sheetClosed" });
        return;
      }
      if (busyWith(store.state)) return;
      switch (choice) {
        case "ask":
          dispatch({ type: "sheetAccepted", secrets: true });
          dispatch({ type: "sheetClosed" });
          parts.start(question, without);
          break;
        case "leave-out":
          dispatch({ type: "sheetAccepted", secrets: false });
          // What goes in in their place is looked at too.
          check(question, [...without, ...(sheet.secrets?.paths ?? [])], undefined);
          break;
        case "fit":
          attempt(fit(question, without, sheet));
          break;
        case "widen":
          parts.changeRope({ kind: "auto" });
          check(question, without, undefined);
          break;
      }
    },
    stop() {
      const { sheet, live } = store.state;
      if (sheet.status === "closed" || live) return;
      checking?.abort();
      dispatch({ type: "sheetClosed" });
    },
  };
}
