/** The check of the last answer by leaving out what it cites: one at a time, and never beside a run. */
import { plainError } from "../engine/errors.ts";
import type { EngineClient } from "./engine.ts";
import { busyWith } from "./state/store.ts";
import type { Action, Store } from "./state/store.ts";

export interface AnswerChecks {
  /** Does nothing while the engine is busy, or where the answer's context is not in its cache. */
  start: () => void;
  stop: () => void;
}

/** What checks need of the playground around them. */
export interface AnswerCheckParts {
  store: Store;
  engine: Pick<EngineClient, "checkAnswer">;
  dispatch: (action: Action) => void;
  /** Ends a pooling and waits for the engine. */
  engineFree: () => Promise<void>;
}

export function createAnswerChecks({ store, engine, dispatch, engineFree }: AnswerCheckParts): AnswerChecks {
  let checking: AbortController | undefined;

  async function check(runId: string): Promise<void> {
    const id = crypto.randomUUID();
    const controller = new AbortController();
    checking = controller;
    dispatch({ type: "checkStarted", id, runId });
    try {
      await engineFree();
      dispatch({ type: "checkReady", id, check: await engine.checkAnswer({ checkId: id }, controller.signal) });
    } catch (error) {
      dispatch({ type: "checkFailed", id, error: plainError(error) });
    } finally {
      checking = undefined;
    }
  }

  return {
    start() {
      const { contextRun } = store.state;
      if (contextRun === undefined || busyWith(store.state)) return;
      // A failure is part of the state.
      void check(contextRun);
    },
    stop() {
      if (!checking) return;
      dispatch({ type: "checkStopping" });
      checking.abort();
    },
  };
}
