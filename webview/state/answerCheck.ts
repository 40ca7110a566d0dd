/** State of the check of an answer by leaving out what it cites. Pure. */
import type { AnswerCheck, CheckProgress } from "../../engine/generate/api.ts";
import type { PlainError } from "../../engine/errors.ts";

export type CheckState =
  | { status: "idle" }
  | { status: "running"; id: string; runId: string; stopping: boolean; progress: CheckProgress | undefined }
  | { status: "ready"; runId: string; check: AnswerCheck }
  | { status: "failed"; runId: string; error: PlainError };

export type CheckAction =
  | { type: "checkStarted"; id: string; runId: string }
  | { type: "checkEvent"; checkId: string; progress: CheckProgress }
  | { type: "checkStopping" }
  | { type: "checkReady"; id: string; check: AnswerCheck }
  | { type: "checkFailed"; id: string; error: PlainError };

/** What belongs to another check than the one that runs is dropped. */
export function reduceCheck(state: CheckState, action: CheckAction): CheckState {
  if (action.type === "checkStarted")
    return { status: "running", id: action.id, runId: action.runId, stopping: false, progress: undefined };
  if (state.status !== "running") return state;
  switch (action.type) {
    case "checkEvent":
      return action.checkId === state.id ? { ...state, progress: action.progress } : state;
    case "checkStopping":
      return { ...state, stopping: true };
    case "checkReady":
      return action.id === state.id ? { status: "ready", runId: state.runId, check: action.check } : state;
    case "checkFailed": {
      if (action.id !== state.id) return state;
      return action.error.code === "aborted" ? { status: "idle" } : { status: "failed", runId: state.runId, error: action.error };
    }
  }
}
