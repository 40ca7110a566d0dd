// `npm run -s lcp -- <command>`: builds what is missing (noise on standard error only), then runs the command line.
import { join } from "node:path";
import { ensureBuilt, root } from "./ensureBuilt.mjs";
import { fail, runCli } from "./runCli.mjs";

try {
  ensureBuilt();
} catch (error) {
  fail(error);
}
process.exitCode = await runCli(join(root, "dist", "cli.mjs"), process.argv.slice(2));
