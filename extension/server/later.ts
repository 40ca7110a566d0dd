/** Runs work at most once per interval: the first call of a burst waits that long, the others join it. */
export class Later {
  private readonly delayMs: number;
  private readonly work: () => void;
  private timer: NodeJS.Timeout | undefined;

  constructor(delayMs: number, work: () => void) {
    this.delayMs = delayMs;
    this.work = work;
  }

  soon(): void {
    this.timer ??= setTimeout(() => this.now(), this.delayMs);
  }

  /** Does what is waiting, or does it anyway. */
  now(): void {
    this.dispose();
    this.work();
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
