/** How fast bytes arrive, over the last seconds: an average since the start would hide that a connection has died down. */

const WINDOW_MS = 5000;

export class Speed {
  private readonly now: () => number;
  private readonly marks: { atMs: number; bytes: number }[] = [];

  /** `now` in milliseconds. */
  constructor(now: () => number = Date.now) {
    this.now = now;
  }

  /** All bytes that have arrived by now. */
  mark(bytes: number): void {
    const atMs = this.now();
    this.marks.push({ atMs, bytes });
    while (this.marks.length > 2 && (this.marks[1]?.atMs ?? atMs) <= atMs - WINDOW_MS) this.marks.shift();
  }

  /** 0 until there is something to measure. */
  get bytesPerSecond(): number {
    const first = this.marks[0];
    const last = this.marks.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return (1000 * (last.bytes - first.bytes)) / (last.atMs - first.atMs);
  }
}
