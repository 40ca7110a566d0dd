// What `npm start` and `npm run lcp` do first: a Node that is new enough, node_modules as locked, a build newer than its sources.
// Plain Node with no packages, because it runs before any are installed. Its own messages go to standard error.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { npm } from "./vscodeHost.mjs";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

const sourceFolders = ["engine", "webview", "extension"];
const sourceFiles = ["build.mjs", "package.json", "package-lock.json"];
const sourceSuffix = /\.(ts|wgsl|css|mjs)$/;

/** Brings node_modules up to date; throws an Error whose message says what to do. */
export function ensureInstalled() {
  checkNode();
  if (!installedAsLocked()) {
    say("installing packages (npm ci)");
    npm(["ci"], root);
  }
}

/** Brings node_modules and dist up to date; throws an Error whose message says what to do. */
export function ensureBuilt() {
  ensureInstalled();
  if (modifiedMs("dist/.built") < newestSourceMs()) {
    say("building");
    const build = spawnSync(process.execPath, ["build.mjs"], { cwd: root, stdio: ["ignore", 2, 2] });
    if (build.status !== 0) throw new Error('the build failed — see its message above; "npm ci" repairs a broken node_modules');
  }
}

/** One line on standard error. */
export function say(message) {
  process.stderr.write(`${message}\n`);
}

function checkNode() {
  const wanted = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).engines.node;
  const [major, minor] = wanted.match(/\d+/g).map(Number);
  const [haveMajor, haveMinor] = process.versions.node.split(".").map(Number);
  if (haveMajor < major || (haveMajor === major && haveMinor < minor)) {
    throw new Error(
      `Node ${process.versions.node} is too old: this project needs Node ${wanted} — install a newer one from nodejs.org`,
    );
  }
}

/** npm keeps its own lock file of what lies in node_modules; by content, because git and npm both touch the dates. */
function installedAsLocked() {
  const installedPath = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installedPath)) return false;
  const installed = JSON.parse(readFileSync(installedPath, "utf8")).packages;
  const locked = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const wanted = Object.entries(locked).filter(([path]) => path !== "");
  return wanted.every(([path, { version, optional }]) =>
    path in installed ? installed[path].version === version : optional === true,
  );
}

/** Modification time in ms of a path below the root; 0 where there is none. */
function modifiedMs(path) {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Folders count too, because deleting or renaming a source changes only them. */
function newestSourceMs() {
  let newest = Math.max(...sourceFiles.map(modifiedMs));
  const visit = (folder) => {
    const entries = readdirSync(join(root, folder), { withFileTypes: true });
    if (entries.some((entry) => sourceSuffix.test(entry.name))) newest = Math.max(newest, modifiedMs(folder));
    for (const entry of entries) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) visit(path);
      else if (sourceSuffix.test(entry.name)) newest = Math.max(newest, modifiedMs(path));
    }
  };
  sourceFolders.forEach(visit);
  return newest;
}
