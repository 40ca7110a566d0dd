import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { startThread } from "./countThread.ts";
import { firstCountArgument } from "./serverProcess.ts";

/** The build puts the bundle of the counting threads beside this one. */
export const threadBundle = join(__dirname, "countWorker.js");

// Imported before everything else, so that it loads while the server itself does.
let first: Worker | undefined = process.argv.includes(firstCountArgument) ? startThread(threadBundle) : undefined;
const forget = (): void => {
  first = undefined;
};
// Whoever needs a thread then starts one and hears what is wrong.
first?.once("error", forget).once("exit", forget);

/** A counting thread that was started early; undefined where none was, and for all but the first caller. */
export function takeFirstThread(): Worker | undefined {
  const taken = first;
  forget();
  return taken;
}
