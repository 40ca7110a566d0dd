import type { ModelSpec, RopeChoice } from "../api.ts";
import { FOLLOW_UP_TOKENS, requestLength, type ResolvedRope, resolveRope } from "../position/choose.ts";

/** Chooses window and rotation for a prompt, and keeps the rotation while the same context is asked again. */
export class WindowChooser {
  private last: { key: string; context: Int32Array; lengthTokens: number; resolved: ResolvedRope } | undefined;

  constructor(
    private readonly spec: ModelSpec,
    private readonly capacityTokens: number,
  ) {}

  /** Tokens that prompt and answer may have when they want `neededTokens`. */
  windowFor(choice: RopeChoice, neededTokens: number): number {
    const lengthTokens = requestLength(choice, this.spec, neededTokens);
    return resolveRope(choice, this.spec, lengthTokens, this.capacityTokens).limit.tokens;
  }

  /** The rotation for `neededTokens` behind this context: the one of the turn before, if it still reaches. */
  resolve(choice: RopeChoice, context: Int32Array, neededTokens: number): ResolvedRope {
    const key = JSON.stringify(choice);
    const { last } = this;
    if (last?.key === key && neededTokens <= last.lengthTokens && sameTokens(last.context, context)) return last.resolved;
    const lengthTokens = Math.max(neededTokens, Math.min(neededTokens + FOLLOW_UP_TOKENS, this.windowFor(choice, neededTokens)));
    const resolved = resolveRope(choice, this.spec, lengthTokens, this.capacityTokens);
    this.last = { key, context, lengthTokens, resolved };
    return resolved;
  }
}

function sameTokens(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
