/** What came over one link and was not asked for yet, and who waits for what did not come. */
import type { EngineError } from "../../errors.ts";
import { isLinkMessage, type LinkMessage, type RingPort } from "./messages.ts";
import { wallMs } from "./timings.ts";

export interface Arrived {
  message: LinkMessage;
  /** When it was there. */
  atMs: number;
}

export interface Inbox {
  /** Messages of earlier runs are dropped from now on; those of this one may have come before. */
  begin(run: number): void;
  /** The message of the current run, once it is there. Rejects with what `fail` was given. */
  take(kind: LinkMessage["kind"], layer: number, step: number): Promise<Arrived>;
  /** Ends the current run: everybody who waits, or comes to wait, gets the error. */
  fail(error: EngineError): void;
}

export function openInbox(port: RingPort): Inbox {
  const stored = new Map<string, Arrived>();
  const waiting = new Map<string, { resolve(arrived: Arrived): void; reject(error: EngineError): void }>();
  let current = 0;
  let failure: EngineError | undefined;
  const keyOf = ({ kind, run, layer, step }: Pick<LinkMessage, "kind" | "run" | "layer" | "step">): string =>
    `${kind} ${run} ${layer} ${step}`;

  port.listen((raw) => {
    if (!isLinkMessage(raw) || raw.run < current) return;
    const arrived = { message: raw, atMs: wallMs() };
    const key = keyOf(raw);
    const receiver = waiting.get(key);
    waiting.delete(key);
    if (receiver === undefined) stored.set(key, arrived);
    else receiver.resolve(arrived);
  });

  return {
    begin(run) {
      current = run;
      failure = undefined;
      for (const [key, { message }] of stored) if (message.run < run) stored.delete(key);
    },
    take(kind, layer, step) {
      if (failure !== undefined) return Promise.reject(failure);
      const key = keyOf({ kind, run: current, layer, step });
      const arrived = stored.get(key);
      stored.delete(key);
      if (arrived !== undefined) return Promise.resolve(arrived);
      return new Promise((resolve, reject) => waiting.set(key, { resolve, reject }));
    },
    fail(error) {
      failure = error;
      const receivers = [...waiting.values()];
      waiting.clear();
      for (const receiver of receivers) receiver.reject(error);
    },
  };
}
