/** Git's own answer about a tree, and the walk compared with it. Paths are byte strings: one character per byte. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { type Dirent, lstatSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { type Walk, walkRoot, type WalkOptions } from "../../extension/server/walk.ts";
import { bytesOf, onDisk, textOf } from "./gitTrees.ts";
import { withTempTree } from "./tempTree.ts";

/** An environment that holds nothing of the machine's own configuration. */
export function environmentAt(home: string): Record<string, string> {
  return { PATH: process.env.PATH ?? "", HOME: home, GIT_CONFIG_NOSYSTEM: "1", LC_ALL: "C.UTF-8" };
}

const author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"];

/** What git prints, as a byte string; `input` is one too. Throws what git says where it fails. */
export function git(folder: string, environment: Record<string, string>, args: readonly string[], input = ""): string {
  const options = { cwd: folder, env: environment, input: Buffer.from(input, "latin1"), maxBuffer: 1 << 28 };
  const { status, stdout, stderr } = spawnSync("git", [...author, ...args], options);
  assert.ok(status === 0 || (status === 1 && args[0] === "check-ignore"), `git ${args.join(" ")}: ${stderr.toString()}`);
  return stdout.toString("latin1");
}

/** Regular files that git lists, tracked or not, as far as they lie behind no symbolic link: byte strings, sorted. */
export function listedByGit(folder: string, environment: Record<string, string>): string[] {
  const listed = new Set(git(folder, environment, ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).split("\0"));
  const plain = new Map<string, boolean>([[".", true]]);
  const isPlainFolder = (path: string): boolean => {
    const known = plain.get(path);
    if (known !== undefined) return known;
    const is =
      isPlainFolder(dirname(path)) && (lstatSync(onDisk(folder, path), { throwIfNoEntry: false })?.isDirectory() ?? false);
    plain.set(path, is);
    return is;
  };
  const isFile = (path: string): boolean =>
    isPlainFolder(dirname(path)) && (lstatSync(onDisk(folder, path), { throwIfNoEntry: false })?.isFile() ?? false);
  return [...listed].filter((path) => path !== "" && !path.endsWith("/") && isFile(path)).sort();
}

/** A byte string as the walk shows it: text, and bytes that are no UTF-8 as "\xNN". */
export function shownPath(path: string): string {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const isCharacter = (piece: string): boolean => {
    try {
      return Array.from(decoder.decode(Buffer.from(piece, "latin1"))).length === 1;
    } catch {
      return false;
    }
  };
  let text = "";
  for (let at = 0; at < path.length;) {
    const length = [1, 2, 3, 4].find((bytes) => isCharacter(path.slice(at, at + bytes)));
    text += length === undefined ? `\\x${path.charCodeAt(at).toString(16)}` : textOf(path.slice(at, at + length));
    at += length ?? 1;
  }
  return text;
}

function isText(path: string): boolean {
  return shownPath(path) === textOf(path);
}

/**
 * Asserts that the walk finds what git lists, that every row of a rule has git's reason, and that nothing on disk is without a row.
 * Paths are those of the given folder; it may lie inside the repository. Returns the walk.
 */
export async function checkAgainstGit(
  folder: string,
  environment: Record<string, string>,
  options: WalkOptions = {},
): Promise<Walk> {
  const walk = await walkRoot({ folder, prefix: "" }, { environment, ...options });
  const found = walk.files.map(({ path }) => path);
  const listed = listedByGit(folder, environment);
  assert.deepEqual(found, listed.filter(isText).map(shownPath).sort());
  const rows = new Map(walk.excluded.map((row) => [row.path, row]));
  assert.equal(rows.size, walk.excluded.length, "a path has one row");
  for (const path of listed)
    if (!isText(path)) assert.ok(isCovered(rows, new Set(), shownPath(path)), `no row for ${shownPath(path)}`);
  const seen = new Set(found);
  for (const path of entriesBelow(folder))
    assert.ok(isCovered(rows, seen, path), `neither a file nor a row: ${JSON.stringify(path)}`);
  checkReasons(folder, environment, walk);
  return walk;
}

function checkReasons(folder: string, environment: Record<string, string>, { excluded }: Walk): void {
  const ignored = excluded.filter(({ kind, path }) => kind === "ignored" && !path.includes("\\x"));
  const input = ignored.map(({ path }) => bytesOf(path.replace(/\/$/, ""))).join("\0");
  // Without its index git does not know rules that are not checked out, with it it says nothing of folders that hold tracked files.
  const asked = ["check-ignore", "-z", "-v", "--stdin"];
  const told = [[...asked, "--no-index"], asked].map((args) => git(folder, environment, args, input).split("\0"));
  // Git names rule files from the top on, a row from the folder that was opened.
  const here = textOf(git(folder, environment, ["rev-parse", "--show-prefix"]).slice(0, -1));
  const reasons = new Map<string, string>();
  for (const fields of told) {
    for (let at = 0; at + 3 < fields.length; at += 4) {
      const [source = "", , pattern = "", path = ""] = fields.slice(at, at + 4).map(textOf);
      const named = join("/top", source.endsWith(".git/info/exclude") ? ".git/info/exclude" : source);
      reasons.set(path, `${isAbsolute(source) ? source : named}: ${pattern}`);
    }
  }
  for (const { path, reason } of ignored) {
    const [, source = "", rule = ""] = /^ignored by (.*?)(?: \(core\.excludesFile\))?: (.*?)…?$/s.exec(reason) ?? [];
    const at = source === ".git/info/exclude" ? `/top/${source}` : isAbsolute(source) ? source : join("/top", here, source);
    const wanted = reasons.get(path.replace(/\/$/, "")) ?? "no rule of git";
    if (reason.endsWith("…")) assert.ok(wanted.startsWith(`${at}: ${rule}`), `${path}: ${wanted}`);
    else assert.equal(`${at}: ${rule}`, wanted, path);
  }
}

/** Whether the path, or a folder above it, is a file that was found or has a row. */
function isCovered(rows: ReadonlyMap<string, unknown>, found: ReadonlySet<string>, path: string): boolean {
  if (found.has(path) || rows.has(path) || rows.has(`${path}/`)) return true;
  for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1))
    if (rows.has(path.slice(0, end + 1))) return true;
  return false;
}

/** Everything below a folder that is no folder itself, as the walk shows it; links are not followed. */
function entriesBelow(folder: string): string[] {
  const entries: string[] = [];
  const visit = (path: string): void => {
    const inside: Dirent<Buffer>[] = readdirSync(onDisk(folder, path), { withFileTypes: true, encoding: "buffer" });
    for (const entry of inside) {
      const below = path + entry.name.toString("latin1");
      if (entry.isDirectory()) visit(`${below}/`);
      else entries.push(shownPath(below));
    }
  };
  visit("");
  return entries;
}

export interface RepositoryPlace {
  /** A repository in the folder "w" of the home. */
  folder: string;
  home: string;
  environment: Record<string, string>;
  run: (...args: string[]) => string;
  write: (files: Record<string, string>) => void;
}

/** Runs `use` on a new repository with these files, which are not added. */
export async function withRepository(
  files: Record<string, string>,
  use: (place: RepositoryPlace) => Promise<void>,
): Promise<void> {
  await withTempTree({}, async (home) => {
    const folder = join(home, "w");
    const environment = environmentAt(home);
    const write = (added: Record<string, string>): void => {
      for (const [path, content] of Object.entries(added)) {
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        writeFileSync(join(folder, path), content);
      }
    };
    write({ ...files, "w.ts": "1" });
    const run = (...args: string[]): string => git(folder, environment, args);
    run("init", "-q");
    await use({ folder, home, environment, run, write });
  });
}

export function pathsOf({ files }: Walk): string[] {
  return files.map(({ path }) => path);
}

export function reasonsOf({ excluded }: Walk): Record<string, string> {
  return Object.fromEntries(excluded.map(({ path, reason }) => [path, reason]));
}
