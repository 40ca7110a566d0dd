import { basename, isAbsolute, join, relative, resolve, sep } from "node:path";
import { EngineError } from "../../engine/errors.ts";

/** One workspace folder. `prefix` is "" where there is only one, else "name/", so that a path names one file of the workspace. */
export interface Root {
  readonly folder: string;
  readonly prefix: string;
}

/** Roots of absolute folders, in the given order; equal names get " (2)", " (3)". */
export function workspaceRoots(folders: readonly { name: string; folder: string }[]): Root[] {
  if (folders.length === 1) return folders.map(({ folder }) => ({ folder: resolve(folder), prefix: "" }));
  const used = new Map<string, number>();
  return folders.map(({ name, folder }) => {
    const label = (name || basename(folder)).replaceAll("/", "_");
    const count = (used.get(label) ?? 0) + 1;
    used.set(label, count);
    return { folder: resolve(folder), prefix: `${count === 1 ? label : `${label} (${count})`}/` };
  });
}

/** What the roots are called together. */
export function rootsLabel(roots: readonly Root[]): string {
  return roots.map(({ folder }) => basename(folder)).join(" + ");
}

/** Absolute path of a snapshot path; throws `not-found` where it leads outside the workspace, by ".." or as an absolute path. */
export function absolutePath(roots: readonly Root[], path: string): string {
  const root = roots.find(({ prefix }) => path.startsWith(prefix));
  const inner = root && path.slice(root.prefix.length);
  const absolute = root && inner ? resolve(root.folder, inner) : undefined;
  if (!root || !inner || isAbsolute(inner) || !absolute || insideOf(root.folder, absolute) === undefined) {
    throw new EngineError("not-found", `"${path}" is not a file of this workspace`, "open the folder that contains it", { path });
  }
  return absolute;
}

/** The root an absolute path lies in (the innermost one) and its path below it with "/"; undefined outside the workspace. */
export function rootOf(roots: readonly Root[], absolute: string): { root: Root; inner: string } | undefined {
  let best: { root: Root; inner: string } | undefined;
  for (const root of roots) {
    const inner = insideOf(root.folder, absolute);
    if (inner !== undefined && (!best || root.folder.length > best.root.folder.length)) best = { root, inner };
  }
  return best;
}

/** Path of `absolute` below `folder` with "/" as the separator, "" for the folder itself; undefined where it lies elsewhere. */
export function insideOf(folder: string, absolute: string): string | undefined {
  const inner = relative(folder, absolute);
  if (inner === ".." || inner.startsWith(`..${sep}`) || isAbsolute(inner)) return undefined;
  return sep === "/" ? inner : inner.split(sep).join("/");
}

/** Absolute path of a path with "/" below a root. */
export function below(root: Root, inner: string): string {
  return join(root.folder, ...inner.split("/"));
}
