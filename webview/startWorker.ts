/**
 * Starts the engine's worker. A webview cannot load a worker from its own resources, so the page fetches the bundle and
 * starts it from a blob: address.
 */
import { EngineError } from "../engine/errors.ts";
import type { Port } from "./protocol/channel.ts";

export interface RunningWorker {
  port: Port;
  /** Resolves, with the reason, when the worker died by itself. */
  crashed: Promise<EngineError>;
  stop(): void;
}

export async function startWorker(scriptUri: string): Promise<RunningWorker> {
  const response = await fetch(scriptUri);
  if (!response.ok) {
    throw new EngineError(
      "not-found",
      `the engine script could not be read (${response.status})`,
      "reload the window, or reinstall the extension",
    );
  }
  const address = URL.createObjectURL(new Blob([await response.text()], { type: "text/javascript" }));
  const worker = new Worker(address, { type: "module", name: "long-context-engine" });
  const crashed = new Promise<EngineError>((resolve) => {
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      const where = event.message === "" ? "" : `: ${event.message}`;
      resolve(new EngineError("internal", `the engine stopped${where}`, "restart the engine; finished runs are kept"));
    });
  });
  return {
    port: {
      post(message, transfer = []) {
        worker.postMessage(message, [...transfer]);
      },
      listen(handler) {
        const listener = (event: MessageEvent<unknown>): void => {
          handler(event.data);
        };
        worker.addEventListener("message", listener);
        return () => {
          worker.removeEventListener("message", listener);
        };
      },
    },
    crashed,
    stop() {
      worker.terminate();
      URL.revokeObjectURL(address);
    },
  };
}
