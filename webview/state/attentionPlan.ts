/** What the prompt would take in every way to attend, as far as it was planned. Pure. */
import type { PlainError } from "../../engine/errors.ts";
import type { AttentionTable, PlannedWay } from "../../engine/planner/api.ts";

export type AttentionPlan =
  | { status: "idle" }
  | { status: "running"; id: string }
  | { status: "ready"; table: AttentionTable }
  | { status: "failed"; error: PlainError };

export type AttentionPlanAction =
  | { type: "attentionPlanStarted"; id: string }
  | { type: "attentionPlanReady"; id: string; table: AttentionTable }
  | { type: "attentionPlanFailed"; id: string; error: PlainError };

/** An answer to an earlier request changes nothing. */
export function reduceAttentionPlan(plan: AttentionPlan, action: AttentionPlanAction): AttentionPlan {
  if (action.type === "attentionPlanStarted") return { status: "running", id: action.id };
  if (plan.status !== "running" || plan.id !== action.id) return plan;
  if (action.type === "attentionPlanReady") return { status: "ready", table: action.table };
  return action.error.code === "aborted" ? { status: "idle" } : { status: "failed", error: action.error };
}

export interface PlanRow {
  attention: string;
  /** One per format, in the order of the columns; undefined where the policy does not take it. */
  cells: readonly (PlannedWay | undefined)[];
}

/** A row for each policy and a column for each format. */
export function planRows({ ways }: AttentionTable): { formats: readonly string[]; rows: readonly PlanRow[] } {
  const formats = [...new Set(ways.map(({ kv }) => kv))];
  const policies = [...new Set(ways.map(({ attention }) => attention))];
  return {
    formats,
    rows: policies.map((attention) => {
      const own = ways.filter((way) => way.attention === attention);
      return { attention, cells: formats.map((format) => own.find(({ kv }) => kv === format)) };
    }),
  };
}
