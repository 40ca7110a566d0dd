// Finds a Chromium for the GPU tier (its SwiftShader), the host tier and the end-to-end tier; installs Debian's where apt is there.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "microsoft-edge"];
const paths = [
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
  "C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe",
];

/** Path of a Chromium; `CHROMIUM` in the environment wins. Throws with what to do where there is none. */
export function ensureChromium() {
  const named = process.env.CHROMIUM;
  if (named !== undefined && named !== "") {
    if (existsSync(named)) return named;
    throw new Error(`CHROMIUM is ${named}, which does not exist — set it to the path of a Chromium or Chrome, or unset it`);
  }
  const found = findChromium();
  if (found !== undefined) return found;
  installChromium();
  const installed = findChromium();
  if (installed !== undefined) return installed;
  throw new Error("no Chromium found — install Chromium or Chrome, or set CHROMIUM to its path");
}

function findChromium() {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return [...folders.flatMap((folder) => names.map((name) => join(folder, name))), ...paths].find((path) => existsSync(path));
}

/** As root, or through sudo where it asks for no password; does nothing where there is no apt-get. */
function installChromium() {
  if (!existsSync("/usr/bin/apt-get")) return;
  const root = process.getuid?.() === 0;
  const apt = (...args) => {
    const command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q", ...args];
    return (
      spawnSync(root ? command[0] : "sudo", root ? command.slice(1) : ["-n", ...command], { stdio: ["ignore", 2, 2] }).status ===
      0
    );
  };
  process.stderr.write("installing chromium with apt-get\n");
  if (!apt("install", "--no-install-recommends", "chromium") && apt("update"))
    apt("install", "--no-install-recommends", "chromium");
}
