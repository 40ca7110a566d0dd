import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, sep } from "node:path";

/** Packages whose JavaScript is counted. */
const PACKAGES = [
  "eslint@9.39.1",
  "webpack@5.102.1",
  "@babel/core@7.28.5",
  "rxjs@7.8.2",
  "date-fns@4.1.0",
  "prettier@3.6.2",
  "lodash@4.17.21",
];
/** What these depend on is taken as it was then; later releases are other files. */
const AS_OF = "2026-11-20";
export const SHA256 = "7e932f570019fa9b46082649787516e0c75d77b362d0b05f24a6b35f2aef178d";
const LARGEST_FILE = 2 ** 20;

/** Below dist/test, which is git-ignored and which a build for release leaves alone. */
export const cacheFolder = join("dist", "test", "countCorpus");

const packagesFolder = join(cacheFolder, "packages", "node_modules");

/** What every engine must count in the corpus under o200k. */
export const CORPUS_TOKENS = 12_782_701;

export interface CorpusFile {
  /** Relative to node_modules, with "/". */
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Installs the packages into the cache unless they are there, and checks that the files are the ones that were measured before. */
export function prepareCorpus(): void {
  if (existsSync(packagesFolder) && hashCorpus() === SHA256) return;
  rmSync(cacheFolder, { recursive: true, force: true });
  npmInstall(join(cacheFolder, "packages"), [`--before=${AS_OF}`, ...PACKAGES]);
  const found = hashCorpus();
  if (found !== SHA256) throw new Error(`the corpus has the sha256 ${found} instead of ${SHA256}: a package is not what it was`);
}

/** All .js, .mjs and .cjs of at most 1 MiB, links left out, sorted by path. */
export function readCorpus(): CorpusFile[] {
  return readdirSync(packagesFolder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.[cm]?js$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => statSync(file).size <= LARGEST_FILE)
    .map((file) => ({ path: file.slice(packagesFolder.length + 1).replaceAll(sep, "/"), file }))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map(({ path, file }) => ({ path, bytes: new Uint8Array(readFileSync(file)) }));
}

/** The corpus as a workspace: its files alone, folders called node_modules renamed nm, so that nothing ignores them. */
export function corpusWorkspace(): string {
  const root = join(cacheFolder, "workspace");
  const done = join(cacheFolder, "workspace.done");
  if (existsSync(done)) return root;
  rmSync(root, { recursive: true, force: true });
  for (const { path } of readCorpus()) {
    const to = join(root, path.replaceAll("/node_modules/", "/nm/"));
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(join(packagesFolder, path), to);
  }
  writeFileSync(done, "");
  return root;
}

/** Makes a folder a package of its own with these dependencies; throws with what npm said when it fails. */
export function npmInstall(folder: string, packages: readonly string[]): void {
  mkdirSync(folder, { recursive: true });
  // Without a manifest npm would install into a folder above.
  writeFileSync(join(folder, "package.json"), '{ "name": "count-bench", "private": true }\n');
  const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", ...packages];
  const { status, stderr, error } = spawnSync("npm", args, {
    cwd: folder,
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  if (status !== 0) throw new Error(`npm ${args.join(" ")} failed: ${error?.message ?? stderr.trim()}`);
}

function hashCorpus(): string {
  const hash = createHash("sha256");
  for (const { path, bytes } of readCorpus()) hash.update(path).update("\0").update(bytes);
  return hash.digest("hex");
}
