import ignore, { type Ignore } from "ignore";

/** Names of the files that say what is not part of the workspace, weakest first. */
export const ignoreFileNames = [".gitignore", ".longcontextignore"] as const;

/** Rules of one ignore file, and the folder they belong to (path below the root with "/", "" for the root). */
export interface IgnoreLayer {
  readonly folder: string;
  /** The root's own path below the file's folder, ending in "/", for a file that lies above the root; else "". */
  readonly front: string;
  /** Where the rules were read, as a person finds it. */
  readonly source: string;
  readonly patterns: readonly string[];
  readonly matcher: Ignore;
  /** Rules of git do not touch what its index tracks; our own do. */
  readonly ofGit: boolean;
  readonly ignoreCase: boolean;
}

/** Where the rules of one file belong. `front`: see IgnoreLayer. */
export interface LayerPlace {
  folder: string;
  front?: string;
  ignoreCase: boolean;
}

/** Rules from the text of an ignore file; a byte order mark and carriage returns are dropped as git does. */
export function ignoreLayer(place: LayerPlace, source: string, text: string): IgnoreLayer {
  const { folder, front = "", ignoreCase } = place;
  const ofGit = !source.endsWith(".longcontextignore");
  return layerOf({ folder, front, source, ofGit, ignoreCase }, text.replace(/^\uFEFF/, "").split(/\r?\n/));
}

/**
 * Why a path (below the root, with "/") is ignored, or undefined. `layers` run from the weakest to the strongest; the strongest that
 * has an opinion decides. The folders above the path must already have been found not to be ignored.
 */
export function ignoredBy(layers: readonly IgnoreLayer[], path: string, isFolder: boolean): string | undefined {
  for (const layer of [...layers].reverse()) {
    const result = layer.matcher.test(testedPath(layer, path) + (isFolder ? "/" : ""));
    if (result.ignored) return `ignored by ${layer.source}: ${result.rule?.mark ?? "a rule"}`;
    if (result.unignored) return undefined;
  }
  return undefined;
}

/**
 * Layers for the inside of a folder that is not ignored. Where a stronger file re-included the folder against a weaker one, the weaker
 * rules that name the folder would still swallow all below it (a matcher asks for the parents too), so they go on inside it
 * only as far as they can match a name at any depth.
 */
export function layersInside(layers: readonly IgnoreLayer[], folder: string): IgnoreLayer[] {
  return layers.flatMap((layer) => {
    const tested = `${testedPath(layer, folder)}/`;
    if (!layer.matcher.test(tested).ignored) return [layer];
    const names = layer.patterns.filter(
      (pattern) => layerOf({ ...layer, folder: "", front: "" }, [pattern]).matcher.test(tested).ignored,
    );
    const others = layer.patterns.filter((pattern) => !names.includes(pattern));
    const atAnyDepth = names.filter((pattern) => !pattern.slice(0, -1).includes("/"));
    return [layerOf(layer, others), layerOf({ ...layer, folder, front: "" }, atAnyDepth)];
  });
}

/** A path below the root as the layer's patterns see it. */
function testedPath(layer: IgnoreLayer, path: string): string {
  return matched(layer.front + (layer.folder === "" ? path : path.slice(layer.folder.length + 1)), layer.ignoreCase);
}

function layerOf(place: Omit<IgnoreLayer, "patterns" | "matcher">, patterns: readonly string[]): IgnoreLayer {
  const matcher = ignore({ ignorecase: false });
  matcher.add(patterns.map((pattern) => ({ pattern: matched(pattern, place.ignoreCase), mark: pattern })));
  const { folder, front, source, ofGit, ignoreCase } = place;
  return { folder, front, source, ofGit, ignoreCase, patterns, matcher };
}

/** Git matches bytes, so that `?` is one byte, and where case does not count folds ASCII only: one character a byte does the same. */
function matched(text: string, ignoreCase: boolean): string {
  const bytes = ONLY_ASCII.test(text) ? text : Buffer.from(text, "utf8").toString("latin1");
  return ignoreCase ? bytes.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase()) : bytes;
}

const ONLY_ASCII = /^[\0-\x7f]*$/;
