/** `lcp`: the headless door. Same engine, same walker and counts as in the editor, in Node. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, parseCommand } from "./cli/args.ts";
import { attentionHelp, policyLines } from "./cli/attentionText.ts";
import { ask } from "./cli/ask.ts";
import { count } from "./cli/count.ts";
import { doctor } from "./cli/doctor.ts";
import { logits } from "./cli/logits.ts";
import { evalAnswers } from "./cli/evalAnswers.ts";
import { failureOf, type Output } from "./cli/output.ts";
import { pack } from "./cli/pack.ts";
import { plan } from "./cli/plan.ts";
import { ropeSearch } from "./cli/ropeSearch.ts";
import { usages } from "./cli/usages.ts";

/** This file is built to dist/cli.mjs. */
const packageRoot = join(dirname(fileURLToPath(import.meta.url)), "..");

const output: Output = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  terminal: process.stderr.isTTY,
};

// A reader that went away (a pipe into head, say) ends the work; nobody would see its result.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => process.exit(1));

const exitCode = await main(process.argv.slice(2));
await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
// WebGPU in Node keeps the process alive; nothing is left to do.
process.exit(exitCode);

async function main(args: string[]): Promise<number> {
  const controller = new AbortController();
  const interrupt = (): void => {
    // A second Ctrl-C does not wait for the work to stop.
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  try {
    await run(parseCommand(args), controller.signal);
    return 0;
  } catch (error) {
    // Where --json names a file, standard output is for people.
    const failure = failureOf(error, args.includes("--json") && args[0] !== "eval-answers");
    output.out(failure.out);
    output.err(failure.err);
    return failure.exitCode;
  }
}

async function run(command: Command, signal: AbortSignal): Promise<void> {
  switch (command.name) {
    case "help":
      output.out(`Usage:\n${indented(Object.values(usages))}\n${attentionHelp}\n${indented(policyLines())}`);
      return;
    case "count":
      return count(command, packageRoot, output, signal);
    case "pack":
      return pack(command, packageRoot, output, signal);
    case "ask":
      return ask(command, packageRoot, output, signal);
    case "logits":
      return logits(command, packageRoot, output, signal);
    case "rope-search":
      return ropeSearch(command, packageRoot, output, signal);
    case "plan":
      return plan(command, packageRoot, output, signal);
    case "eval-answers":
      return evalAnswers(command, packageRoot, output, signal);
    case "doctor":
      return doctor(command, packageRoot, output);
  }
}

function indented(lines: readonly string[]): string {
  return lines.map((line) => `  ${line}\n`).join("");
}

/** Resolves when everything written so far has left the process: a pipe takes its time. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write("", () => resolve());
  });
}
