import type { MessagePort } from "node:worker_threads";
import type { RingPort } from "../../engine/attention/ring/messages.ts";

/** A MessagePort of Node as one end of a ring's pipe. */
export function ringPort(port: MessagePort): RingPort {
  return {
    post: (message, transfer = []) => port.postMessage(message, [...transfer]),
    listen: (handler) => void port.on("message", handler),
    close: () => port.close(),
  };
}
