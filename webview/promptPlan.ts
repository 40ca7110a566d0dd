/** Says before a question is asked how much of its prompt would be computed: planned when typing pauses, given up as soon as anything changes. */
import { plainError } from "../engine/errors.ts";
import type { EngineClient, Host } from "./engine.ts";
import { planSubject } from "./state/promptPlan.ts";
import type { PlanSubject } from "./state/promptPlan.ts";
import { snapshotOf } from "./state/snapshot.ts";
import type { Action, Store } from "./state/store.ts";

/** A pause in typing. */
const PAUSE_MS = 600;

/** What planning needs of the playground around it. */
export interface PromptPlanParts {
  store: Store;
  host: Host;
  engine: Pick<EngineClient, "plan">;
  dispatch: (action: Action) => void;
  /** Runs `then` once `signal` was not aborted for so long. */
  later: (pauseMs: number, signal: AbortSignal, then: () => void) => void;
}

/** Follows the store from now on. */
export function followPrompt(parts: PromptPlanParts): void {
  const { store, host, engine, dispatch } = parts;
  let planned: { key: string; controller: AbortController } | undefined;

  async function plan(subject: PlanSubject, signal: AbortSignal): Promise<void> {
    const { key, question, history, options } = subject;
    try {
      const { files } = await host.call("workspace/files", {}, { signal });
      const found = await engine.plan({ question, history, options, files: snapshotOf(files) }, signal);
      if (!signal.aborted) dispatch({ type: "promptPlanned", key, plan: found });
    } catch (error) {
      const { code, message } = plainError(error);
      // What could not be planned is said; what was given up is not.
      if (!signal.aborted && code !== "aborted") dispatch({ type: "promptPlanFailed", key, problem: message });
    }
  }

  store.subscribe(() => {
    const subject = planSubject(store.state);
    if (subject?.key === planned?.key) return;
    planned?.controller.abort();
    planned = undefined;
    if (!subject) return;
    const controller = new AbortController();
    planned = { key: subject.key, controller };
    parts.later(PAUSE_MS, controller.signal, () => {
      void plan(subject, controller.signal);
    });
  });
}

/** `later` by the clock. */
export function afterPause(pauseMs: number, signal: AbortSignal, then: () => void): void {
  const timer = setTimeout(then, pauseMs);
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
}
