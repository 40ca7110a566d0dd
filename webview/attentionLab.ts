/** What the attention settings do beside being drawn: a draft that can be read is saved and applies to the next run. */
import { readAttentionDraft } from "./state/attentionDraft.ts";
import type { AttentionDraft } from "./state/attentionDraft.ts";
import type { PanelSettings } from "./protocol/panel.ts";
import type { Action } from "./state/store.ts";

export interface AttentionLab {
  /** Shows a draft; one that can be read is saved. */
  edit: (draft: AttentionDraft) => void;
}

/** What the lab needs of the playground around it. */
export interface AttentionParts {
  dispatch: (action: Action) => void;
  changeSettings: (change: Partial<PanelSettings>) => void;
}

export function createAttentionLab({ dispatch, changeSettings }: AttentionParts): AttentionLab {
  return {
    edit(draft) {
      dispatch({ type: "attentionDraft", draft });
      const reading = readAttentionDraft(draft);
      if ("choice" in reading) changeSettings({ attention: reading.choice });
    },
  };
}
