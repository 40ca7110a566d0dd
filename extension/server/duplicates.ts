/** Paths by content, to tell copies; one string where there is one path, as for nearly all. */
export class Duplicates {
  private readonly paths = new Map<string, string | Set<string>>();

  add(hash: string, path: string): void {
    if (hash === "") return;
    const known = this.paths.get(hash);
    if (known === undefined || known === path) this.paths.set(hash, path);
    else if (typeof known === "string") this.paths.set(hash, new Set([known, path]));
    else known.add(path);
  }

  remove(hash: string, path: string): void {
    const known = this.paths.get(hash);
    if (known === path) this.paths.delete(hash);
    else if (known instanceof Set) known.delete(path);
  }

  /** The first of the files with this content, by path; undefined where there is only one. */
  firstOf(hash: string): string | undefined {
    const known = this.paths.get(hash);
    if (!(known instanceof Set) || known.size < 2) return undefined;
    let first: string | undefined;
    for (const path of known) if (first === undefined || path < first) first = path;
    return first;
  }
}
