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
}

/** Case counts where the file system says so, as it does for git's own default. */
const ignoreCase = process.platform === "win32" || process.platform === "darwin";

/** Rules from the text of an ignore file; a byte order mark and carriage returns are dropped as git does. */
export function ignoreLayer(place: { folder: string; front?: string }, source: string, text: string): IgnoreLayer {
  return layerOf(place.folder, place.front ?? "", source, text.replace(/^\uFEFF/, "").split(/\r?\n/));
}

/**
 * Why a path (below the root, with "/") is ignored, or undefined. `layers` run from the weakest to the strongest; the strongest that
 * has an opinion decides. The folders above the path must already have been found not to be ignored.
 */
export function ignoredBy(layers: readonly IgnoreLayer[], path: string, isFolder: boolean): string | undefined {
  for (const layer of [...layers].reverse()) {
    const result = layer.matcher.test(testedPath(layer, path) + (isFolder ? "/" : ""));
    if (result.ignored) return `ignored by ${layer.source}: ${result.rule?.pattern ?? "a rule"}`;
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
    const names = layer.patterns.filter((pattern) => layerOf("", "", "", [pattern]).matcher.test(tested).ignored);
    const others = layer.patterns.filter((pattern) => !names.includes(pattern));
    const atAnyDepth = names.filter((pattern) => !pattern.slice(0, -1).includes("/"));
    return [layerOf(layer.folder, layer.front, layer.source, others), layerOf(folder, "", layer.source, atAnyDepth)];
  });
}

/** A path below the root as the layer's patterns see it. */
function testedPath(layer: IgnoreLayer, path: string): string {
  return layer.front + (layer.folder === "" ? path : path.slice(layer.folder.length + 1));
}

function layerOf(folder: string, front: string, source: string, patterns: readonly string[]): IgnoreLayer {
  const matcher = ignore({ ignorecase: ignoreCase }).add(patterns.map((pattern) => ({ pattern })));
  return { folder, front, source, patterns, matcher };
}
