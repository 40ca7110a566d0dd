import { CUT_TOKENS, type PositionPlan, type Runner } from "../api.ts";
import type { AttentionChoice } from "../attention/api.ts";
import { isRecurrentRunner } from "../recurrent/runner.ts";

/** Which tokens a runner has in its cache, so that a prompt that begins alike is not computed again. */
export class HeldTokens {
  private ids: ArrayLike<number> = [];
  /** By which positions and attention. */
  private way = "";

  constructor(readonly runner: Runner) {}

  /**
   * Makes the cache a prefix of `prompt` under this plan, as long as possible, but short of the last token, whose
   * logits are needed. Returns its length; what is appended next must be the rest of `prompt`.
   */
  prepare(prompt: Int32Array, plan: PositionPlan, attention: AttentionChoice | undefined): number {
    const { runner } = this;
    runner.setPositions(plan);
    const shared = this.shared(prompt);
    if (shared < runner.length) runner.truncate(shared);
    this.start(prompt, plan, attention);
    return runner.length;
  }

  /** What `prepare` would return, with nothing changed. */
  wouldKeep(prompt: Int32Array, plan: PositionPlan, attention: AttentionChoice | undefined): number {
    if (this.way !== wayOf(plan, attention)) return 0;
    const { runner } = this;
    const shared = this.shared(prompt);
    if (shared >= runner.length) return runner.length;
    if (isRecurrentRunner(runner)) return runner.snapshotLengths.findLast((length) => length <= shared) ?? 0;
    return Math.floor(shared / CUT_TOKENS) * CUT_TOKENS;
  }

  /** What is cached from now on are these tokens, under this plan; models without keys have no `attention`. */
  start(ids: ArrayLike<number>, plan: PositionPlan, attention: AttentionChoice | undefined): void {
    this.ids = ids;
    this.way = wayOf(plan, attention);
  }

  /** The cache now holds these tokens, or as many of them as it is long, under the plan of before. */
  hold(ids: ArrayLike<number>): void {
    this.ids = ids;
  }

  /** What the cache holds is not what computing it anew would give: no prompt may reuse it. */
  forget(): void {
    this.ids = [];
  }

  private shared(prompt: Int32Array): number {
    const limit = Math.min(this.ids.length, this.runner.length, prompt.length - 1);
    let shared = 0;
    while (shared < limit && this.ids[shared] === prompt[shared]) shared++;
    return shared;
  }
}

function wayOf(plan: PositionPlan, attention: AttentionChoice | undefined): string {
  return JSON.stringify([plan.key, attention]);
}
