import type { PositionPlan, Runner } from "../api.ts";

/** Which tokens a runner has in its cache, so that a prompt that begins alike is not computed again. */
export class HeldTokens {
  private ids: ArrayLike<number> = [];

  constructor(readonly runner: Runner) {}

  /**
   * Makes the cache a prefix of `prompt` under this plan, as long as possible, but short of the last token, whose
   * logits are needed. Returns its length; what is appended next must be the rest of `prompt`.
   */
  prepare(prompt: Int32Array, plan: PositionPlan): number {
    const { runner } = this;
    runner.setPositions(plan);
    const limit = Math.min(this.ids.length, runner.length, prompt.length - 1);
    let shared = 0;
    while (shared < limit && this.ids[shared] === prompt[shared]) shared++;
    if (shared < runner.length) runner.truncate(shared);
    this.ids = prompt;
    return runner.length;
  }

  /** The cache now holds these tokens, or as many of them as it is long. */
  hold(ids: ArrayLike<number>): void {
    this.ids = ids;
  }

  /** What the cache holds is not what computing it anew would give: no prompt may reuse it. */
  forget(): void {
    this.ids = [];
  }
}
