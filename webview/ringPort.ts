import type { RingPort } from "../engine/attention/ring/messages.ts";
import type { Port } from "./protocol/channel.ts";

/** A MessagePort as one end of a ring's pipe. */
export function ringPort(port: MessagePort): RingPort {
  return {
    post(message, transfer = []) {
      port.postMessage(message, [...transfer]);
    },
    listen(handler) {
      port.addEventListener("message", (event: MessageEvent<unknown>) => {
        handler(event.data);
      });
      port.start();
    },
    close() {
      port.close();
    },
  };
}

/** The same as one end of a channel. */
export function channelPort(port: MessagePort): Port {
  return {
    post(message, transfer = []) {
      port.postMessage(message, [...transfer]);
    },
    listen(handler) {
      const listener = (event: MessageEvent<unknown>): void => {
        handler(event.data);
      };
      port.addEventListener("message", listener);
      port.start();
      return () => {
        port.removeEventListener("message", listener);
      };
    },
  };
}
