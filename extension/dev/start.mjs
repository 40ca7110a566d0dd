// `npm start [-- [--browser] [--port N] [folder]]`: installs and builds what is missing, then opens VS Code with this extension.
// `npm start -- ask <folder> "<question>" …`: the same main job without a window.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { ensureBuilt, ensureInstalled, root, say } from "./ensureBuilt.mjs";
import { fail, runCli } from "./runCli.mjs";
import { freePort, installHost, installVsix, startHost } from "./vscodeHost.mjs";

const usage = 'usage: npm start [-- [--browser] [--port N] [folder]]   or   npm start -- ask <folder> "<question>" [lcp options]';

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  fail(error);
}

async function main(args) {
  if (args[0] === "ask") {
    ensureBuilt();
    return runCli(join(root, "dist", "cli.mjs"), args);
  }
  const options = parse(args);
  if (typeof options === "string") {
    say(`${options}\n${usage}`);
    return 2;
  }
  const code = options.browser ? undefined : onPath("code");
  return code === undefined ? serve(options) : openDesktop(code, options.folder);
}

/** Options, or what is wrong with the arguments. */
function parse(args) {
  const options = { browser: false, port: undefined, folder: root };
  for (let index = 0; index < args.length; index++) {
    const arg = args[index];
    if (arg === "--browser") options.browser = true;
    else if (arg === "--port") {
      options.port = Number(args[++index]);
      if (!Number.isInteger(options.port) || options.port < 1 || options.port > 65_535)
        return "--port wants a number from 1 to 65535";
    } else if (arg.startsWith("-")) return `unknown option ${arg}`;
    else options.folder = resolve(arg);
  }
  if (!statSync(options.folder, { throwIfNoEntry: false })?.isDirectory()) return `no such folder: ${options.folder}`;
  return options;
}

/** Desktop VS Code runs the extension from this folder; its window outlives this command. */
function openDesktop(code, folder) {
  ensureBuilt();
  say(`opening ${folder} in desktop VS Code (${code}); "npm start -- --browser" uses the browser-hosted one`);
  const args = [`--extensionDevelopmentPath=${root}`, folder];
  // code.cmd needs a shell, and a shell needs quotes around paths with spaces.
  const result =
    process.platform === "win32"
      ? spawnSync(
          `"${code}"`,
          args.map((arg) => `"${arg}"`),
          { stdio: "inherit", shell: true },
        )
      : spawnSync(code, args, { stdio: "inherit" });
  return result.status ?? 1;
}

/** The browser-hosted VS Code gets the packaged extension, as a user would install it. */
async function serve({ folder, port }) {
  ensureInstalled();
  const host = installHost(root, say);
  const dataDir = join(root, ".vscode-host", "data");
  say("packaging the extension");
  const packaged = spawnSync(process.execPath, ["build.mjs", "--package"], { cwd: root, stdio: ["ignore", "ignore", 2] });
  if (packaged.status !== 0) throw new Error("packaging the extension failed — see the message above");
  installVsix(host, dataDir, join(root, "long-context-playground.vsix"));
  const server = await startHost(host, { port: port ?? (await freePort()), dataDir });
  process.stdout.write(`VS Code is at ${server.url}/?folder=${encodeURIComponent(folder)}\n`);
  say('In it, run "Long Context: Open Playground". Ctrl-C stops the server.');
  const stopped = new Promise((done) => {
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, done);
  });
  const because = await Promise.race([stopped, server.ended.then(() => "ended")]);
  await server.stop();
  if (because !== "ended") return 0;
  throw new Error(`the server ended by itself — see ${join(dataDir, "server.log")}`);
}

/** Full path of a program, or undefined. */
function onPath(name) {
  const suffixes = process.platform === "win32" ? [".cmd", ".exe"] : [""];
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.flatMap((folder) => suffixes.map((suffix) => join(folder, name + suffix))).find((path) => existsSync(path));
}
