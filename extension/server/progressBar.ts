import { plainError } from "../../engine/errors.ts";

/** How a long count shows itself to the user, and how he stops it. */
export interface CountProgress {
  report(percent: number, message: string): void;
  done(): void;
  onCancel(listener: () => void): void;
}

/** Shorter counts come and go without one. */
const showAfterMs = 400;

/** The progress of one count: shown once it takes long. */
export class ProgressBar {
  private shown: CountProgress | undefined;
  private ended = false;
  private readonly timer: NodeJS.Timeout;

  constructor(start: () => Promise<CountProgress>, onCancel: () => void, log: (message: string) => void) {
    this.timer = setTimeout(() => {
      start()
        .then((progress) => {
          if (this.ended) progress.done();
          else {
            this.shown = progress;
            progress.onCancel(onCancel);
          }
        })
        .catch((error: unknown) => log(`the progress of counting cannot be shown: ${plainError(error).message}`));
    }, showAfterMs);
  }

  report(done: number, all: number): void {
    this.shown?.report(Math.floor((100 * done) / Math.max(1, all)), `${done} / ${all} files`);
  }

  done(): void {
    this.ended = true;
    clearTimeout(this.timer);
    this.shown?.done();
  }
}
