/** What the attention settings do beside being drawn: a draft that can be read is saved, and the prompt is planned on demand. */
import { plainError } from "../engine/errors.ts";
import type { EngineClient } from "./engine.ts";
import type { PanelSettings } from "./protocol/panel.ts";
import { readAttentionDraft } from "./state/attentionDraft.ts";
import type { AttentionDraft } from "./state/attentionDraft.ts";
import { plannedTokens } from "./state/attentionFacts.ts";
import type { Action, Store } from "./state/store.ts";

export interface AttentionLab {
  /** Shows a draft; one that can be read is saved and applies to the next run. */
  edit: (draft: AttentionDraft) => void;
  /** Finds out what the prompt takes in every way to read it. */
  plan: () => void;
  stopPlan: () => void;
  /** Gives planning up and waits until the engine is free of it. */
  engineFree: () => Promise<void>;
}

/** What the lab needs of the playground around it. */
export interface AttentionParts {
  store: Store;
  engine: Pick<EngineClient, "planAttention">;
  dispatch: (action: Action) => void;
  changeSettings: (change: Partial<PanelSettings>) => void;
}

export function createAttentionLab({ store, engine, dispatch, changeSettings }: AttentionParts): AttentionLab {
  let planning: { controller: AbortController; done: Promise<void> } | undefined;

  async function plan({ rope, attention, kv }: PanelSettings, signal: AbortSignal): Promise<void> {
    const id = crypto.randomUUID();
    dispatch({ type: "attentionPlanStarted", id });
    try {
      const request = { tokens: plannedTokens(store.state), rope, attention, kv };
      dispatch({ type: "attentionPlanReady", id, table: await engine.planAttention(request, signal) });
    } catch (error) {
      dispatch({ type: "attentionPlanFailed", id, error: plainError(error) });
    }
  }

  return {
    edit(draft) {
      dispatch({ type: "attentionDraft", draft });
      const reading = readAttentionDraft(draft);
      if ("choice" in reading) changeSettings({ attention: reading.choice });
    },
    plan() {
      const { settings, attentionPlan } = store.state;
      if (!settings || attentionPlan.status === "running") return;
      const controller = new AbortController();
      planning = { controller, done: plan(settings, controller.signal) };
    },
    stopPlan() {
      planning?.controller.abort();
    },
    async engineFree() {
      planning?.controller.abort();
      await planning?.done;
    },
  };
}
