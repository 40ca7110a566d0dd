/**
 * WebGPU for Node through the npm package `webgpu` (Dawn). Used by the command line and the tests only; the webview has its own.
 * The system's driver comes first; without one, the software driver (SwiftShader) that every Chromium ships. Nothing is installed.
 */
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { constants, homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";

const icdFile = "vk_swiftshader_icd.json";
const browserNames = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "microsoft-edge"];
const browserFolders = [
  "/usr/lib/chromium",
  "/usr/lib/chromium-browser",
  "/usr/lib64/chromium-browser",
  "/opt/google/chrome",
  "/opt/microsoft/msedge",
  "/snap/chromium/current/usr/lib/chromium-browser",
  "/Applications/Google Chrome.app/Contents/Frameworks/Google Chrome Framework.framework/Libraries",
  "/Applications/Chromium.app/Contents/Frameworks/Chromium Framework.framework/Libraries",
  "C:\\Program Files\\Google\\Chrome\\Application",
  "C:\\Program Files (x86)\\Microsoft\\Edge\\Application",
];
/** glibc's flag: the library stays loaded after dlclose. Not among node's constants. */
const RTLD_NODELETE = 0x1000;
/** Dawn crashes when its instance is collected before the devices made from it, so instances live as long as the process. */
const instances: GPU[] = [];

/** A WebGPU entry point with an adapter behind it and how it was found; undefined where this machine has none. */
export async function openDawn(): Promise<{ gpu: GPU; how: string } | undefined> {
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  if (systemDriverMayExist()) {
    const gpu = kept(create([]));
    if ((await gpu.requestAdapter()) !== null) return { gpu, how: "the system's graphics driver" };
  }
  for (const folder of swiftshaderFolders()) {
    process.env.VK_ICD_FILENAMES = join(folder, icdFile);
    keepVulkanLoader(folder);
    const gpu = kept(create([]));
    if ((await gpu.requestAdapter()) === null) continue;
    leaveCoresToSwiftShader();
    return { gpu, how: `SwiftShader of the browser in ${folder}` };
  }
  return undefined;
}

function kept(gpu: GPU): GPU {
  instances.push(gpu);
  return gpu;
}

let leavesCores = false;

/**
 * While anything is pending Dawn looks for it in every turn of the event loop, by the global `setImmediate`. That keeps a core busy, of those
 * that a software adapter computes with: there, once a millisecond has to do. Only Dawn's own callbacks, which are native, wait.
 */
function leaveCoresToSwiftShader(): void {
  if (leavesCores) return;
  leavesCores = true;
  const { setImmediate } = globalThis;
  const paced = (callback: () => void, ...args: []): unknown =>
    String(callback).includes("[native code]") ? setTimeout(callback, 1) : setImmediate(callback, ...args);
  Object.defineProperty(globalThis, "setImmediate", { value: paced, configurable: true, writable: true });
}

/** Vulkan drivers announce themselves by a manifest; asking Dawn where there is none only prints a warning. Other systems need none. */
function systemDriverMayExist(): boolean {
  if (process.platform !== "linux") return true;
  if (process.env.VK_ICD_FILENAMES !== undefined || process.env.VK_DRIVER_FILES !== undefined) return true;
  const folders = [
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    join(homedir(), ".local/share/vulkan/icd.d"),
  ];
  return folders.some((folder) => existsSync(folder) && readdirSync(folder).length > 0);
}

/** Folders of installed browsers that hold SwiftShader; the one of `CHROMIUM` comes first. */
function swiftshaderFolders(): string[] {
  const named = process.env.CHROMIUM ?? "";
  const onPath = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => browserNames.map((name) => join(folder, name)));
  const programs = [named, ...onPath].filter((path) => path !== "" && existsSync(path));
  const folders = [...programs.map((path) => dirname(realpathSync(path))), ...browserFolders].flatMap(withVersionFolders);
  return [...new Set(folders)].filter((folder) => existsSync(join(folder, icdFile)));
}

/** On Windows the libraries lie in a folder named by the version, beside the program. */
function withVersionFolders(folder: string): string[] {
  if (process.platform !== "win32" || !existsSync(folder)) return [folder];
  const versions = readdirSync(folder).filter((name) => /^\d+\./.test(name));
  return [folder, ...versions.map((name) => join(folder, name))];
}

/**
 * Dawn opens "libvulkan.so.1" by name, which finds a loader that is already in the process. Where the system has none, the browser's is
 * loaded here; it is no Node addon, so `dlopen` reports that, after having loaded it for good.
 */
function keepVulkanLoader(folder: string): void {
  const loader = join(folder, "libvulkan.so.1");
  if (process.platform !== "linux" || !existsSync(loader)) return;
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
  try {
    process.dlopen({ exports: {} }, loader, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
  } catch (error) {
    if (!String(error).includes("did not self-register")) throw error;
  }
}
