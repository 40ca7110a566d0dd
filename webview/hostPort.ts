/** The only file that talks to VS Code's webview API: the pipe to the host, and the view state that survives a reload. */
import type { Port } from "./protocol/channel.ts";

declare function acquireVsCodeApi(): {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
};

const api = acquireVsCodeApi();

/** Buffers are copied by VS Code; there is nothing to transfer to another process. */
export const hostPort: Port = {
  post(message) {
    api.postMessage(message);
  },
  listen(handler) {
    const listener = (event: MessageEvent<unknown>): void => {
      handler(event.data);
    };
    window.addEventListener("message", listener);
    return () => {
      window.removeEventListener("message", listener);
    };
  },
};

/** What the page remembers of itself: where the user was, never data. */
export interface ViewState {
  tab: "ask" | "inspect";
  question: string;
}

export function readViewState(): ViewState {
  const state = api.getState();
  const saved = typeof state === "object" && state !== null ? state : {};
  return {
    tab: "tab" in saved && saved.tab === "inspect" ? "inspect" : "ask",
    question: "question" in saved && typeof saved.question === "string" ? saved.question : "",
  };
}

export function writeViewState(state: ViewState): void {
  api.setState(state);
}
