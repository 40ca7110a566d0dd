// Runs the built command line with this process's own terminal, and ends as it ends.
import { spawn } from "node:child_process";

/** Exit code of `node <script> <args>`; Ctrl-C reaches the child itself, which shares the terminal. */
export async function runCli(script, args) {
  const child = spawn(process.execPath, ["--enable-source-maps", script, ...args], { stdio: "inherit" });
  const ignore = () => undefined;
  process.on("SIGINT", ignore);
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 1)));
  });
}

/** One line and exit code 1. */
export function fail(error) {
  process.stderr.write(`lcp: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
