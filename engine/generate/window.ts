import type { ModelSpec, RopeChoice } from "../api.ts";
import type { AttentionChoice } from "../attention/api.ts";
import { FOLLOW_UP_TOKENS, requestLength, type ResolvedRope, resolveRope } from "../position/choose.ts";

/** What of a request decides on its window. */
export interface WindowRequest {
  rope: RopeChoice;
  /** Undefined for a model without keys. */
  attention: AttentionChoice | undefined;
}

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
    /** Tokens that the cache holds when it is attended to like this. */
    private readonly capacityOf: (attention: AttentionChoice | undefined) => number,
  ) {}

  /** Tokens that prompt and answer may have when they want `neededTokens`. */
  windowFor({ rope, attention }: WindowRequest, neededTokens: number): number {
    const lengthTokens = requestLength(rope, this.spec, neededTokens, attention);
    return resolveRope(rope, this.spec, lengthTokens, this.capacityOf(attention), attention).limit.tokens;
  }

  /** The rotation for `neededTokens` behind this context: the one of the turn before, if it still reaches. */
  resolve(choice: WindowRequest, context: Int32Array, neededTokens: number): ResolvedRope {
    this.last = this.chosen(choice, context, neededTokens);
    return this.last.resolved;
  }

  /** What `resolve` would choose, without keeping it for the next turn. */
  wouldResolve(choice: WindowRequest, context: Int32Array, neededTokens: number): ResolvedRope {
    return this.chosen(choice, context, neededTokens).resolved;
  }

  private chosen(choice: WindowRequest, context: Int32Array, neededTokens: number): KeptRotation {
    const key = JSON.stringify(choice);
    const { last } = this;
    if (last?.key === key && neededTokens <= last.lengthTokens && sameTokens(last.context, context)) return last;
    const lengthTokens = Math.max(neededTokens, Math.min(neededTokens + FOLLOW_UP_TOKENS, this.windowFor(choice, neededTokens)));
    const { rope, attention } = choice;
    const resolved = resolveRope(rope, this.spec, lengthTokens, this.capacityOf(attention), attention);
    return { key, context, lengthTokens, resolved };
  }
}

function sameTokens(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
