/**
 * Prefix tree over units below 65536 (bytes, or UTF-16 units), in flat arrays: node 0 is the root, and a child is found in
 * a hash table under its parent and unit. A vocabulary of 65,536 entries takes a few megabytes and tens of milliseconds.
 */
export class Trie {
  /** Id that ends at a node, or -1. */
  private ids = new Int32Array(1024).fill(-1);
  private nodes = 1;
  /** The hash table, slot by slot; a free slot has child 0. */
  private parents = new Int32Array(2048);
  private units = new Uint16Array(2048);
  private children = new Int32Array(2048);
  private mask = 2047;

  /** Adds an entry; a second one with the same units replaces the id. */
  add(entry: ArrayLike<number>, id: number): void {
    let node = 0;
    for (let i = 0; i < entry.length; i++) node = this.child(node, entry[i]) || this.grow(node, entry[i]);
    this.ids[node] = id;
  }

  /** The node one unit below another, or 0 where there is none. */
  child(node: number, unit: number): number {
    const { parents, units, children, mask } = this;
    for (let slot = hash(node, unit) & mask; ; slot = (slot + 1) & mask) {
      const child = children[slot];
      if (child === 0 || (parents[slot] === node && units[slot] === unit)) return child;
    }
  }

  /** Id of the entry that ends at this node, or -1. */
  idAt(node: number): number {
    return this.ids[node];
  }

  private grow(parent: number, unit: number): number {
    if (this.nodes === this.ids.length) {
      const ids = new Int32Array(2 * this.nodes).fill(-1);
      ids.set(this.ids);
      this.ids = ids;
      this.rehash();
    }
    const child = this.nodes++;
    this.insert(parent, unit, child);
    return child;
  }

  private insert(parent: number, unit: number, child: number): void {
    let slot = hash(parent, unit) & this.mask;
    while (this.children[slot] !== 0) slot = (slot + 1) & this.mask;
    this.parents[slot] = parent;
    this.units[slot] = unit;
    this.children[slot] = child;
  }

  /** Keeps the table at most half full. */
  private rehash(): void {
    const { parents, units, children } = this;
    const capacity = 2 * this.ids.length;
    this.parents = new Int32Array(capacity);
    this.units = new Uint16Array(capacity);
    this.children = new Int32Array(capacity);
    this.mask = capacity - 1;
    children.forEach((child, slot) => {
      if (child !== 0) this.insert(parents[slot], units[slot], child);
    });
  }
}

function hash(node: number, unit: number): number {
  const mixed = Math.imul(Math.imul(node, 0x9e3779b1) ^ unit, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}
