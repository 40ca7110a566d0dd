import { throwIfAborted } from "../../errors.ts";

/** Longest stretch of work between two turns of the event loop, so that a stop is heard and a frame is drawn. */
const STRETCH_MS = 30;

/**
 * Lets the event loop turn from time to time. One per runner, because many short calls in a row (decoding) block as one long call does:
 * a promise that is already settled does not let messages in.
 */
export class Breather {
  private turned = performance.now();

  /** Between bounded pieces of work; throws `aborted` when the signal is. */
  async breathe(signal: AbortSignal | undefined): Promise<void> {
    if (performance.now() - this.turned >= STRETCH_MS) {
      await new Promise<void>((resolve) => setTimeout(resolve, 0));
      this.turned = performance.now();
    }
    throwIfAborted(signal);
  }
}
