import type { ModelSpec, RopeChoice } from "../api.ts";
import { FOLLOW_UP_TOKENS, requestLength, type ResolvedRope, resolveRope } from "../position/choose.ts";

interface KeptRotation {
  key: string;
  context: Int32Array;
  lengthTokens: number;
  resolved: ResolvedRope;
}

/** Chooses window and rotation for a prompt, and keeps the rotation while the same context is asked again. */
export class WindowChooser {
  private last: KeptRotation | undefined;

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
    this.last = this.chosen(choice, context, neededTokens);
    return this.last.resolved;
  }

  /** What `resolve` would choose, without keeping it for the next turn. */
  wouldResolve(choice: RopeChoice, context: Int32Array, neededTokens: number): ResolvedRope {
    return this.chosen(choice, context, neededTokens).resolved;
  }

  private chosen(choice: RopeChoice, context: Int32Array, neededTokens: number): KeptRotation {
    const key = JSON.stringify(choice);
    const { last } = this;
    if (last?.key === key && neededTokens <= last.lengthTokens && sameTokens(last.context, context)) return last;
    const lengthTokens = Math.max(neededTokens, Math.min(neededTokens + FOLLOW_UP_TOKENS, this.windowFor(choice, neededTokens)));
    const resolved = resolveRope(choice, this.spec, lengthTokens, this.capacityTokens);
    return { key, context, lengthTokens, resolved };
  }
}

function sameTokens(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
