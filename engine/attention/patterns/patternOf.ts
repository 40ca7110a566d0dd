import type { AttentionPolicy, Pattern } from "../api.ts";
import { bigBird } from "./bigbird.ts";
import { aShape, fixedBlocks, longformer, strided, windowPattern } from "./runs.ts";

/**
 * The pattern of a policy that has one for every prompt. Undefined where every key is seen, where keys are chosen by content, and for
 * `sinks`, which moves positions too (position/sinks.ts). That of `a-shape` is for prompts only.
 */
export function patternOf(policy: AttentionPolicy): Pattern | undefined {
  switch (policy.kind) {
    case "window":
      return windowPattern(policy.window);
    case "longformer":
      return longformer(`longformer:${policy.window},${policy.globals}`, policy.window, (key) => key < policy.globals);
    case "bigbird":
      return bigBird(policy.window, policy.random, policy.globals);
    case "strided":
      return strided(policy.stride);
    case "fixed":
      return fixedBlocks(policy.stride, policy.summary);
    case "a-shape":
      return aShape(policy.sinks, policy.window);
    case "dense":
    case "flash":
    case "flash3":
    case "sinks":
    case "vertical-slash":
    case "blocks":
    case "minference":
    case "ring":
    case "stream":
      return undefined;
  }
}
